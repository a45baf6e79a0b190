package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
)

func newBake(env Env) *cobra.Command {
	var f recipeFlags
	var in inputFlags
	var to bakeFlags
	cmd := &cobra.Command{
		Use:   "bake",
		Short: "Make a node image from a recipe",
		Long: `Make a node image from a recipe: pin and fetch every input, then build what the
cache does not hold. The output folder is replaced whole, or not touched.

The packages come from the mirror that the recipe names, or else from the one of
this host's apt sources; programs come from the Go module proxy.

What is pinned is in the recipe's lock, see "k8snode lock". A bake makes it anew
if the recipe asks for something else, or if a package is gone from its mirror,
and says what changed; with --locked it fails instead.

The image is verified before it appears. With --check it is made a second time,
and the first byte that differs is an error.`,
		Example: `  k8snode bake --recipe node --out out/node --agent bin/k8snode-agent
  k8snode bake --recipe my/recipe.yaml --out out/mine --locked
  k8snode bake --set spec.disk.rootMiB=3072 --offline
  k8snode bake --check`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBake(cmd.Context(), env, f, in, to) },
	}
	f.add(cmd)
	in.add(cmd)
	cmd.Flags().StringVar(&to.out, "out", "", "output folder (default out/NAME)")
	cmd.Flags().StringVar(&to.agent, "agent", "", "the program k8snode-agent (default: beside this program)")
	cmd.Flags().StringVar(&to.check, "check", "", "bake twice and compare: `what`, the \"assembly\" alone or the cached \"steps\" too")
	cmd.Flags().Lookup("check").NoOptDefVal = string(builder.CheckAssembly)
	return cmd
}

type bakeFlags struct{ out, agent, check string }

func runBake(ctx context.Context, env Env, f recipeFlags, in inputFlags, to bakeFlags) error {
	start := env.Now()
	check := builder.Check(to.check)
	if check != builder.CheckNone && check != builder.CheckAssembly && check != builder.CheckSteps {
		return &usageError{fmt.Sprintf("--check=%s makes no sense", to.check), "use --check=assembly or --check=steps"}
	}
	w, err := f.open(env, in)
	if err != nil {
		return err
	}
	if to.out == "" {
		to.out = filepath.Join("out", w.Recipe.Metadata.Name)
	}
	w.Options.Out, w.Options.Check = to.out, check
	// Both are needed only after everything was fetched.
	if w.Options.Agent, err = findAgent(to.agent); err != nil {
		return err
	}
	if err := source.LookTools(builder.Tools()...); err != nil {
		return err
	}
	end, err := w.claim(env)
	if err != nil {
		return err
	}
	result, err := builder.Bake(ctx, w.Recipe, w.Sources, w.Options)
	end()
	if err != nil {
		return w.Explain(err)
	}
	return printBake(env.Stdout, to.out, result, env.Now().Sub(start))
}

// findAgent returns the path of the program that goes into the image.
func findAgent(agent string) (string, error) {
	if agent == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("looking for the agent: %w", err)
		}
		agent = filepath.Join(filepath.Dir(self), "k8snode-agent")
	}
	if _, err := os.Stat(agent); err != nil {
		return "", fmt.Errorf("looking for the agent: %w; build it with \"make build\", or name it with --agent", err)
	}
	return agent, nil
}

// printBake prints the summary: the result of the command. Steps run side by
// side: their times add up to more than the whole took.
func printBake(w io.Writer, out string, r builder.Result, total time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STEP\tTIME")
	for _, s := range r.Timings {
		took := fmt.Sprintf("%.1f s", s.Took.Seconds())
		if s.Cached {
			took = "cached"
		}
		fmt.Fprintf(t, "%s\t%s\n", s.Step, took)
	}
	fmt.Fprintf(t, "total\t%.1f s\n\n", total.Seconds())
	fmt.Fprintln(t, "ARTIFACT\tSIZE\tSHA256")
	for _, a := range r.Manifest.Artifacts {
		fmt.Fprintf(t, "%s\t%s\t%s\n", filepath.Join(out, filepath.FromSlash(a.Path)), size(a.Size), a.SHA256)
	}
	fmt.Fprintf(t, "\nimage %s, kernel %s\n", r.Manifest.ID, r.Manifest.Kernel)
	return t.Flush()
}

func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
