package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/images"
)

type verifyFlags struct {
	recipe recipeFlags
	keys   []string
	jobs   int
}

func newVerify(env Env) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [OUT]",
		Short: "Check a baked image",
		Long: `Open the artifacts of a baked image again, in the folder OUT (default out/node),
and check what they promise: digests, partition tables, file systems, the hash
tree of the root, the files, units and settings of the recipe, one kernel with
its modules everywhere, no secrets, the SBOM. Nothing is mounted or changed.

The image says itself what recipe it was made of. With --recipe it must be that
one. With --image-key it must be signed with the key.`,
		Example: `  k8snode verify
  k8snode verify out/mine --recipe my/recipe.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("want one folder, got %s", strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := filepath.Join("out", "node")
			if len(args) == 1 {
				out = args[0]
			}
			return runVerify(cmd.Context(), env, f, out)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.recipe.recipe, "recipe", "", "the recipe that it must be made of: an embedded one ("+strings.Join(images.Names(), ", ")+"), or a file")
	flags.StringArrayVar(&f.recipe.set, "set", nil, "lay `PATH=VALUE` over that recipe; may be repeated")
	addImageKeys(cmd, &f.keys, "that the image must be signed with")
	flags.IntVar(&f.jobs, "jobs", 0, "parallel jobs (default: one for each processor)")
	return cmd
}

func runVerify(ctx context.Context, env Env, f verifyFlags, out string) error {
	o := verify.Options{Env: env.Environ, Jobs: f.jobs, Now: env.Now}
	if f.recipe.recipe == "" && len(f.recipe.set) > 0 {
		return &usageError{"--set is for a recipe, and there is none", "name one with --recipe"}
	}
	var err error
	if o.Keys, err = imageKeys(f.keys); err != nil {
		return err
	}
	if f.recipe.recipe != "" {
		loaded, err := f.recipe.load()
		if err != nil {
			return err
		}
		entries, err := tree.FromRecipe(loaded.Recipe.Spec, loaded.Sources)
		if err != nil {
			return err
		}
		if o.Files, err = tree.Installed(entries); err != nil {
			return err
		}
		o.Recipe = &loaded.Recipe
	}
	report, err := verifyWatched(ctx, env, out, o)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; make it with \"k8snode bake\", or name another folder", err)
	}
	if err != nil {
		return err
	}
	if report.ID != "" { // else it is no image
		if err := printReport(env.Stdout, report); err != nil {
			return err
		}
	}
	if len(report.Findings) > 0 {
		return &findingsError{out, report.Findings}
	}
	return nil
}

// verifyWatched verifies with a line of progress on a terminal.
func verifyWatched(ctx context.Context, env Env, out string, o verify.Options) (verify.Report, error) {
	if env.terminal() {
		p, stop := newProgress(env.Stderr, env.Now, time.Second)
		defer stop()
		slog.New(p).Debug("running", "step", "verify")
		o.Progress = func(at verify.Progress) { p.line.fetch(builder.Progress(at)) }
	}
	return verify.Verify(ctx, out, o)
}

// findingsError is an image that is not as it should be.
type findingsError struct {
	out      string
	findings []verify.Finding
}

func (e *findingsError) Error() string {
	count := "1 problem"
	if len(e.findings) > 1 {
		count = fmt.Sprintf("%d problems", len(e.findings))
	}
	return count + " in the image " + e.out
}

// print writes the findings, each with its remedy.
func (e *findingsError) print(w io.Writer) {
	for _, f := range e.findings {
		fmt.Fprintf(w, "%s: %s\n  %s\n", filepath.Join(e.out, filepath.FromSlash(f.Artifact)), f.What, f.Remedy)
	}
	fmt.Fprintln(w)
}

// printReport prints the summary: the result of the command.
func printReport(w io.Writer, r verify.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tTIME")
	for _, c := range r.Timings {
		fmt.Fprintf(t, "%s\t%.1f s\n", c.Check, c.Took.Seconds())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(w, "\nNOTES")
	}
	for _, n := range slices.Sorted(slices.Values(r.Notes)) {
		fmt.Fprintln(w, n)
	}
	_, err := fmt.Fprintf(w, "\nimage %s %s: %d files of %s, %d in the root of %s, %d blocks, %d packages in the SBOM\n",
		r.Name, r.ID, r.Files, size(r.Bytes), r.RootFiles, size(r.RootBytes), r.Blocks, r.Packages)
	if err == nil && r.SignedBy != "" {
		_, err = fmt.Fprintf(w, "signed with the key %s\n", r.SignedBy)
	}
	return err
}
