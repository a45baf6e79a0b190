package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
)

func newPlan(env Env) *cobra.Command {
	var f recipeFlags
	var agent, format string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a bake would do",
		Long: `Show what a bake of a recipe would do, and do nothing of it: the image's ID and
kernel command line, every step with its key and whether the cache has its
outputs, and the recipe with all that it extends, overrides and defaults.

It needs the recipe's lock, and opens no socket.`,
		Example: `  k8snode plan --recipe my.yaml
  k8snode plan --set spec.disk.rootMiB=3072 --format json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return &usageError{fmt.Sprintf("there is no format %q", format), "use --format text or --format json"}
			}
			p, err := runPlan(cmd.Context(), env, f, agent)
			if err != nil {
				return err
			}
			if format == "json" {
				return printPlanJSON(env.Stdout, p)
			}
			return printPlan(env.Stdout, p)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&agent, "agent", "", "the program k8snode-agent (default: beside this program)")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

// planned is a plan and what the cache has of it.
type planned struct {
	builder.Plan
	// Files are the recipe's file and those that it extends.
	Files []string      `json:"files"`
	Steps []plannedStep `json:"steps"`
}

type plannedStep struct {
	builder.Step
	Cached bool `json:"cached"`
}

func runPlan(ctx context.Context, env Env, f recipeFlags, agent string) (planned, error) {
	w, err := f.open(env, inputFlags{offline: true})
	if err != nil {
		return planned{}, err
	}
	if w.Options.Agent, err = findAgent(agent); err != nil {
		return planned{}, err
	}
	p, err := builder.Inspect(ctx, w.Recipe, w.Sources, w.Options)
	if err != nil {
		return planned{}, err
	}
	out := planned{Plan: p, Files: w.Files}
	for _, s := range p.Steps {
		_, cached := w.Options.Cache.Lookup(s.Key)
		out.Steps = append(out.Steps, plannedStep{s, cached})
	}
	return out, nil
}

func printPlanJSON(w io.Writer, p planned) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

func printPlan(w io.Writer, p planned) error {
	recipe, err := p.Recipe.YAML()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "image\t%s\n", p.ID)
	fmt.Fprintf(t, "recipe\t%s\n", strings.Join(p.Files, ", which extends "))
	fmt.Fprintf(t, "command line\t%s\n\n", p.Cmdline)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "STEP\tKEY\tCACHED")
	for _, s := range p.Steps {
		cached := "no"
		if s.Cached {
			cached = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Key, cached)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s", recipe)
	return err
}
