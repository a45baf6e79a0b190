package builder

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// Inspect computes the plan of a recipe with the lock that there is, and does
// nothing of it. It opens no socket. The recipe's sources are read from dir.
func Inspect(ctx context.Context, r images.Recipe, dir fs.FS, o Options) (Plan, error) {
	lock, err := ReadLock(r.Spec, o)
	if err != nil {
		return Plan{}, err
	}
	host, err := inspectHost(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	return NewPlan(r, dir, lock, host)
}

func inspectHost(ctx context.Context, o Options) (Host, error) {
	if err := source.LookTools("gcc", "mmdebstrap", iso.Tool); err != nil {
		return Host{}, err
	}
	var h Host
	var err error
	if h.Toolchain, err = o.goTool().Toolchain(ctx); err != nil {
		return Host{}, err
	}
	for _, tool := range []struct {
		version *string
		name    string
		arg     string
	}{
		{&h.CToolchain, "gcc", "--version"},
		{&h.Mmdebstrap, "mmdebstrap", "--version"},
		{&h.Xorriso, iso.Tool, "-version"},
	} {
		if *tool.version, err = toolVersion(ctx, o.Env, tool.name, tool.arg); err != nil {
			return Host{}, err
		}
	}
	if h.AgentSHA256, _, err = source.SumFile(o.Agent); err != nil {
		return Host{}, fmt.Errorf("reading the agent: %w; build it with \"make build\"", err)
	}
	return h, nil
}

// toolVersion returns the first line that a program says about itself.
func toolVersion(ctx context.Context, env []string, name, arg string) (string, error) {
	cmd := exec.CommandContext(ctx, name, arg)
	cmd.Env = env
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("asking %s for its version: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	return line, nil
}
