package e2e_test

import (
	"context"
	_ "embed" // for the documents
	"strings"
	"testing"

	"github.com/k8snode/k8snode/internal/lab/bootcheck"
)

var (
	//go:embed testdata/docker.yaml
	dockerCluster []byte
	//go:embed testdata/docker-pod.yaml
	dockerPod []byte
)

// TestDocker has a node with the runtime docker: a pod runs, commands run in it,
// and the quota of the cluster document stops it when it writes.
func TestDocker(t *testing.T) {
	f := newFleet(t, func([]byte) []byte { return dockerCluster })
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	f.whole()

	var nodes struct {
		Items []struct {
			Status struct {
				NodeInfo struct {
					Runtime string `json:"containerRuntimeVersion"`
				} `json:"nodeInfo"`
			} `json:"status"`
		} `json:"items"`
	}
	f.check(f.Kubectl.Get(f.ctx, &nodes, "nodes"))
	if runtime := nodes.Items[0].Status.NodeInfo.Runtime; !strings.HasPrefix(runtime, "docker://") {
		t.Errorf("the runtime is %s, want docker", runtime)
	}

	_, err := f.Run(f.ctx, f.Nodes()[0], bootcheck.ImportTools)
	f.check(err)
	f.check(f.Wait(f.ctx, "the pod to run", func(ctx context.Context) (string, bool, error) {
		// Again and again: its service account may not be there yet.
		if _, err := f.Kubectl.Run(ctx, dockerPod, "apply", "-f", "-"); err != nil {
			return err.Error(), false, nil
		}
		phase, err := f.Kubectl.Run(ctx, nil, "get", "pod", "writer", "-o", "jsonpath={.status.phase}")
		return string(phase), err == nil && string(phase) == "Running", nil
	}))
	exec := func(command ...string) error {
		_, err := f.Kubectl.Run(f.ctx, nil, append([]string{"exec", "writer", "--"}, command...)...)
		return err
	}
	f.check(exec("/usr/bin/fallocate", "--length", "9G", "/fits"))
	f.check(exec("/usr/bin/dd", "if=/dev/zero", "of=/written", "bs=1M", "count=64"))
	err = exec("/usr/bin/fallocate", "--length", "1G", "/too-much")
	if err == nil || !strings.Contains(err.Error(), "No space left on device") && !strings.Contains(err.Error(), "Disk quota exceeded") {
		t.Errorf("a container with a quota of 10 GiB could write more: %v", err)
	}
}
