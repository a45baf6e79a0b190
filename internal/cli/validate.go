package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/nodeconfig"
	"github.com/k8snode/k8snode/internal/report"
)

func newValidate(env Env) *cobra.Command {
	var image, output string
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a cluster document",
		Long: `Check a cluster document (cluster.yaml unless named): everything that is wrong with
it, all at once, with line and column, and warnings of what works and will probably
be regretted. Warnings are no failure.

With --image it is also checked that the image is of the cluster's Kubernetes.`,
		Example: `  k8snode validate
  k8snode validate cs1/cluster.yaml --image out/node -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Sprintf("there is no output %q", output), "use -o text or -o json"}
			}
			file := "cluster.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			return runValidate(env, file, image, output)
		},
	}
	cmd.Flags().StringVar(&image, "image", "", "folder of a baked image that the document must fit")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// finding is a problem in the output of -o json.
type finding struct {
	Severity string `json:"severity"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Field    string `json:"field"`
	Message  string `json:"message"`
	Remedy   string `json:"remedy,omitempty"`
}

func runValidate(env Env, file, image, output string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the cluster document: %w", err)
	}
	c, problems := cluster.Lint(file, data)
	if output == "json" {
		findings := []finding{}
		for _, p := range problems.Sorted() {
			findings = append(findings, finding{p.Severity.String(), p.File, p.Line, p.Col, string(p.Path), p.Message, p.Remedy})
		}
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(findings); err != nil {
			return err
		}
	}
	if len(problems.Of(report.Error)) > 0 {
		return problems
	}
	if len(problems) > 0 && output == "text" {
		env.printProblems(problems)
	}
	if _, err := nodeconfig.Manifests(file, c); err != nil {
		return err
	}
	if image != "" {
		if _, err := nodeconfig.OpenImage(image, c); err != nil {
			return err
		}
	}
	if output == "text" {
		controlPlanes := len(c.ControlPlanes())
		fmt.Fprintf(env.Stdout, "%s: cluster %s is valid: %s, %s\n", file, c.Metadata.Name,
			count(controlPlanes, "control plane"), count(len(c.Spec.Nodes)-controlPlanes, "worker"))
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
