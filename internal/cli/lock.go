package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
)

func newLock(env Env) *cobra.Command {
	var f recipeFlags
	var in inputFlags
	var check bool
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Pin every input of a recipe",
		Long: `Ask the archive, the Go module proxy and the servers of downloads and container
images what the names in a recipe mean today, write that to the recipe's lock,
and print what changed. A lock belongs into the same repository as its recipe:
it has one line for each pin, and no name of a mirror.

A bake uses the lock and makes it anew only if it must: when the recipe asks for
something else, or a package is gone from its mirror.`,
		Example: `  k8snode lock --recipe my.yaml
  k8snode lock --recipe my.yaml --check`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return runLockCheck(cmd.Context(), env, f, in)
			}
			return runLock(cmd.Context(), env, f, in)
		},
	}
	f.add(cmd)
	in.addResolve(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "write nothing, and fail if the lock would change")
	return cmd
}

func runLock(ctx context.Context, env Env, f recipeFlags, in inputFlags) error {
	r, err := relock(ctx, env, f, in)
	if err != nil || !r.Changed {
		return err
	}
	if err := r.Write(); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "k8snode: wrote %s\n", r.File)
	return nil
}

func runLockCheck(ctx context.Context, env Env, f recipeFlags, in inputFlags) error {
	r, err := relock(ctx, env, f, in)
	if err == nil && r.Changed {
		err = fmt.Errorf("%s is not what it would be today; run %q", r.File, f.request().Command("lock"))
	}
	return err
}

// relock resolves anew and prints what changes.
func relock(ctx context.Context, env Env, f recipeFlags, in inputFlags) (builder.Relocked, error) {
	w, err := f.open(env, in)
	if err != nil {
		return builder.Relocked{}, err
	}
	end, err := w.claim(env)
	if err != nil {
		return builder.Relocked{}, err
	}
	r, err := builder.Relock(ctx, w.Recipe.Spec, w.Options)
	end()
	if err != nil {
		return builder.Relocked{}, w.Explain(err)
	}
	for _, c := range r.Changes {
		fmt.Fprintln(env.Stdout, c)
	}
	switch {
	case !r.Found:
		fmt.Fprintf(env.Stdout, "a new lock: %s\n", contents(r.Lock))
	case !r.Changed:
		fmt.Fprintln(env.Stdout, "nothing changed")
	case len(r.Changes) == 0:
		fmt.Fprintln(env.Stdout, "no pin changed, but what the recipe asks for did, or the file")
	}
	return r, nil
}

// contents counts what a lock pins.
func contents(l builder.Lock) string {
	packages := len(l.Root) + len(l.Boot)
	for _, list := range l.Containers {
		packages += len(list)
	}
	return fmt.Sprintf("%d packages, %d modules, %d downloads, %d container images", packages, len(l.Modules), len(l.Downloads), len(l.Images))
}
