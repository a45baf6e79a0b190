package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
)

func newFetch(env Env) *cobra.Command {
	var f recipeFlags
	var in inputFlags
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Bring every input of a recipe to this machine",
		Long: `Bring every input that the lock of a recipe pins to this machine: packages,
downloads and container images into the cache, and Go modules, with all that
they are compiled from, into the module cache. Then "k8snode bake --offline"
works.

With --offline nothing is fetched; what is missing is named.`,
		Example: `  k8snode fetch --recipe my.yaml
  k8snode fetch --recipe my.yaml --locked`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFetch(cmd.Context(), env, f, in) },
	}
	f.add(cmd)
	in.add(cmd)
	return cmd
}

func runFetch(ctx context.Context, env Env, f recipeFlags, in inputFlags) error {
	w, err := f.open(env, in)
	if err != nil {
		return err
	}
	if err := source.LookTools("go"); len(w.Recipe.Spec.Modules) > 0 && err != nil {
		return err
	}
	end, err := w.claim(env)
	if err != nil {
		return err
	}
	got, err := builder.FetchAll(ctx, w.Recipe.Spec, w.Options)
	end()
	if err != nil {
		return w.Explain(err)
	}
	fmt.Fprintf(env.Stdout, "%d files, %s: %d cached, %d fetched (%s)\n",
		got.Files, size(got.Bytes), got.Cached, got.Files-got.Cached, size(got.Bytes-got.CachedBytes))
	if got.Modules > 0 {
		fmt.Fprintf(env.Stdout, "%d Go modules\n", got.Modules)
	}
	return nil
}
