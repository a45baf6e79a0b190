package cli

import (
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
)

var (
	PrintBake = printBake
	Size      = size

	PrintImages = printImages
	ImageID     = imageID

	KubernetesVersion = kubernetesVersion
)

func NewRoot(env Env) *cobra.Command { return newRoot(env) }

func (env Env) PrintError(err error) int { return env.printError(err) }

// For the test of the progress line.
const EraseLine = eraseLine

var NewProgress = newProgress

// CheckBootHost reports what "k8snode boot" misses on a host.
func CheckBootHost(firmware, from string, root fs.FS) error {
	return bootFlags{firmware: firmware, from: from}.checkHost(root)
}

// Fetching tells the progress line how far a fetch is.
func Fetching(p progress, at builder.Progress) { p.line.fetch(at) }

// PrintPlan prints a plan of which some steps are cached in both forms.
func PrintPlan(text, js io.Writer, p builder.Plan, files []string, cached ...string) error {
	out := planned{Plan: p, Files: files}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, plannedStep{s, slices.Contains(cached, s.Name)})
	}
	return errors.Join(printPlan(text, out), printPlanJSON(js, out))
}
