package butane_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane"
)

// TestKubeadmReadsItsDocuments lets the real kubeadm validate, strictly, what
// it will be given. It needs no cluster and no network.
func TestKubeadmReadsItsDocuments(t *testing.T) {
	kubeadm, err := exec.LookPath("kubeadm")
	if err != nil {
		t.Skip("needs kubeadm in PATH; without it the whole path is what runs the real one")
	}
	for _, test := range []struct{ name, node, path string }{
		{"init", "cp1", agentnode.InitConfig},
		{"join of a control plane", "cp1", agentnode.JoinConfig},
		{"join of a worker", "w1", agentnode.JoinConfig},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := generate(t, newInput(t, routed(), test.node))
			document := kubeadmDocument(t, d, test.path)
			if out, err := validate(t, kubeadm, document); err != nil {
				t.Errorf("kubeadm refuses the document: %v\n%s", err, out)
			}
			out, err := validate(t, kubeadm, document+"useHyperKubeImage: false\n")
			if err == nil || !strings.Contains(string(out), `unknown field "useHyperKubeImage"`) {
				t.Errorf("kubeadm takes an unknown field: %v\n%s", err, out)
			}
		})
	}
	t.Run("init of a machine alone", func(t *testing.T) {
		d := generate(t, newInput(t, isolated(), "cp1"))
		if out, err := validate(t, kubeadm, kubeadmDocument(t, d, agentnode.InitConfig)); err != nil {
			t.Errorf("kubeadm refuses the document: %v\n%s", err, out)
		}
	})
}

// kubeadmDocument returns the file at path, with the discovery file where this
// machine has one: kubeadm opens it.
func kubeadmDocument(t *testing.T, d butane.Document, path string) string {
	t.Helper()
	f, ok := d.File(path)
	if !ok {
		t.Fatalf("there is no %s", path)
	}
	discovery, ok := d.File(agentnode.Discovery)
	if !ok {
		t.Fatalf("there is no %s", agentnode.Discovery)
	}
	local := filepath.Join(t.TempDir(), "discovery.conf")
	if err := os.WriteFile(local, []byte(discovery.Contents.Inline), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(f.Contents.Inline, agentnode.Discovery, local)
}

func validate(t *testing.T, kubeadm, document string) ([]byte, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kubeadm.yaml")
	if err := os.WriteFile(name, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), kubeadm, "config", "validate", "--config", name).CombinedOutput()
}
