package cluster_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/fieldref"
	"github.com/k8snode/k8snode/internal/golden"
)

const (
	referenceFile = "../../docs/cluster.md"
	generated     = "<!-- From here on, go test ./butane/cluster -update writes this page from butane/cluster/spec*.go. -->\n"
)

// The reference is what the types say, and its examples are clusters.
func TestReference(t *testing.T) {
	page := read(t, referenceFile)
	written, _, ok := bytes.Cut(page, []byte(generated))
	if !ok {
		t.Fatalf("%s has no line %q", referenceFile, generated)
	}
	var empty cluster.Cluster
	fieldref.Fill(&empty)
	// What depends on another field has the default of the longer way.
	empty.Spec.HighAvailability.Mode = cluster.HAKeepalived
	complete := empty.Default()
	text, err := fieldref.Write(fieldref.Options{
		Empty: &empty, Complete: &complete,
		Required: []string{
			"apiVersion", "kind", "metadata.name", "spec.kubernetes.version", "spec.endpoint.name", "spec.provision.address",
			"spec.nodes[].name", "spec.nodes[].role", "spec.nodes[].mac", "spec.nodes[].address",
		},
		Sources: []string{"spec.go", "spec_node.go", "spec_system.go", "../../provision/api/api.go"},
	})
	if err != nil {
		t.Error(err)
	}
	golden.Check(t, referenceFile, []byte(string(written)+generated+text))
}

// Those fields are required, and no other one.
func TestRequired(t *testing.T) {
	_, err := cluster.Parse("c.yaml", []byte("apiVersion: k8snode.io/v1alpha1\nkind: Cluster\nmetadata: {}\nspec:\n  nodes:\n    - {}\n"))
	var fields []string
	for _, line := range strings.Split(errors.Join(err).Error(), "\n") {
		if m := regexp.MustCompile(`^c\.yaml:\d+:\d+: (\S+): missing`).FindStringSubmatch(line); m != nil {
			fields = append(fields, m[1])
		}
	}
	const want = "metadata.name spec.kubernetes.version spec.endpoint.name spec.provision.address " +
		"spec.nodes[0].name spec.nodes[0].role spec.nodes[0].mac spec.nodes[0].address"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReferenceExamples(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(apiVersion: .*?)```").FindAllSubmatch(read(t, referenceFile), -1)
	if len(blocks) < 2 {
		t.Fatalf("found %d examples", len(blocks))
	}
	for _, m := range blocks {
		if _, err := cluster.Parse(referenceFile, m[1]); err != nil {
			t.Error(err)
		}
	}
}
