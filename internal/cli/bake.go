package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

type bakeFlags struct {
	recipe, out, cache, agent string
	jobs                      int
}

func newBake(env Env) *cobra.Command {
	var f bakeFlags
	cmd := &cobra.Command{
		Use:   "bake",
		Short: "Make a node image from a recipe",
		Long: `Make a node image from a recipe: pin and fetch every input, then build what the
cache does not hold. The output folder is replaced whole, or not touched.

The packages come from the mirror that the recipe names, or else from the one of
this host's apt sources; programs come from the Go module proxy.`,
		Example: `  k8snode bake --recipe node --out out/node --agent bin/k8snode-agent
  k8snode bake --recipe my/recipe.yaml --out out/mine`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBake(cmd.Context(), env, f) },
	}
	cmd.Flags().StringVar(&f.recipe, "recipe", "node", "an embedded recipe ("+strings.Join(images.Names(), ", ")+"), or a file")
	cmd.Flags().StringVar(&f.out, "out", "", "output folder (default out/NAME)")
	cmd.Flags().StringVar(&f.cache, "cache", "", "cache folder (default $XDG_CACHE_HOME/k8snode)")
	cmd.Flags().StringVar(&f.agent, "agent", "", "the program k8snode-agent (default: beside this program)")
	cmd.Flags().IntVar(&f.jobs, "jobs", 0, "parallel jobs (default: one for each processor)")
	return cmd
}

func runBake(ctx context.Context, env Env, f bakeFlags) error {
	recipe, folder, err := readRecipe(f.recipe)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = filepath.Join("out", recipe.Metadata.Name)
	}
	if f.cache == "" {
		if f.cache, err = env.cacheDir(); err != nil {
			return err
		}
	}
	if f.agent == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("looking for the agent: %w", err)
		}
		f.agent = filepath.Join(filepath.Dir(self), "k8snode-agent")
	}
	// The bake needs it only after it has fetched everything.
	if _, err := os.Stat(f.agent); err != nil {
		return fmt.Errorf("looking for the agent: %w; build it with \"make build\", or name it with --agent", err)
	}
	// go-diskfs takes the timestamps of the EFI system partition from the
	// process's environment.
	epoch := strconv.FormatInt(recipe.Spec.Epoch.Unix(), 10)
	if err := os.Setenv("SOURCE_DATE_EPOCH", epoch); err != nil {
		return err
	}
	logger := env.logger()
	if env.terminal() {
		h, stop := newProgress(env.Stderr, env.Now, time.Second)
		defer stop()
		logger = slog.New(h)
	}
	result, err := builder.Bake(ctx, recipe, folder, builder.Options{
		Cache: source.Cache{Dir: f.cache}, Agent: f.agent, Out: f.out,
		Env: env.Environ, Now: env.Now, Logger: logger, Jobs: f.jobs,
	})
	if err != nil {
		return err
	}
	return printBake(env.Stdout, f.out, result)
}

// readRecipe reads an embedded recipe by its name, or a file by its path, and
// returns it with the folder of its sources.
func readRecipe(name string) (images.Recipe, fs.FS, error) {
	var folder fs.FS
	var data []byte
	file := name
	if strings.ContainsAny(name, "/.") {
		b, err := os.ReadFile(name)
		if err != nil {
			return images.Recipe{}, nil, fmt.Errorf("reading recipe %q: %w", name, err)
		}
		data, folder = b, os.DirFS(filepath.Dir(name))
	} else {
		embedded, inside, err := images.Open(name)
		if err != nil {
			return images.Recipe{}, nil, &usageError{
				fmt.Sprintf("there is no recipe %q", name),
				"the embedded recipes are " + strings.Join(images.Names(), ", ") + "; name a file by a path such as ./" + name + ".yaml",
			}
		}
		if data, err = fs.ReadFile(embedded, inside); err != nil {
			return images.Recipe{}, nil, fmt.Errorf("reading recipe %q: %w", name, err)
		}
		folder, file = embedded, inside
	}
	r, err := images.Parse(file, data)
	return r, folder, err
}

// printBake prints the summary: the result of the command.
func printBake(w io.Writer, out string, r builder.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STEP\tTIME")
	var total time.Duration
	for _, s := range r.Timings {
		took := fmt.Sprintf("%.1f s", s.Took.Seconds())
		if s.Cached {
			took = "cached"
		}
		total += s.Took
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
