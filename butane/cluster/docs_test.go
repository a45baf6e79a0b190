package cluster_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		Sources: []string{"spec.go", "spec_node.go", "spec_system.go", "spec_etcd.go", "../../provision/api/api.go"},
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

// The pages for readers of the guide name fields that there are, and say the
// same in both languages.
func TestGuidePages(t *testing.T) {
	fields := regexp.MustCompile("`((?:kubernetes|endpoint|highAvailability|etcd|runtime|network|system|nodes\\[\\]|manifests|sshAuthorizedKeys)(?:\\.[A-Za-z]+)*)[`:]")
	var pages [][]string
	for _, file := range []string{"../../docs/from-the-guide.md", "../../docs/from-the-guide.zh.md"} {
		var found []string
		for _, m := range fields.FindAllSubmatch(read(t, file), -1) {
			found = append(found, string(m[1]))
		}
		if len(found) < 30 {
			t.Fatalf("%s names %d fields", file, len(found))
		}
		pages = append(pages, found)
	}
	if diff := cmp.Diff(pages[0], pages[1]); diff != "" {
		t.Errorf("-english +chinese:\n%s", diff)
	}
	reference := string(read(t, referenceFile))
	for _, field := range pages[0] {
		section, name := "spec", field
		if i := strings.LastIndexByte(field, '.'); i >= 0 {
			section, name = "spec."+field[:i], field[i+1:]
		}
		name = strings.TrimSuffix(name, "[]")
		_, after, _ := strings.Cut(reference, "\n## `"+section+"`\n")
		table, _, _ := strings.Cut(after, "\n## ")
		if !strings.Contains(table, "| `"+name+"` |") {
			t.Errorf("there is no field %s.%s", section, name)
		}
	}
}
