package cluster_test

import (
	"os"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/butane/cluster"
)

// The example of the documentation is a valid document.
func TestDocumentation(t *testing.T) {
	const file = "../../docs/cluster.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("%s has no example", file)
	}
	c, err := cluster.Parse(file, []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Spec.Nodes) != 2 {
		t.Errorf("the example has %d nodes", len(c.Spec.Nodes))
	}
}
