package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/internal/report"
)

const smallRecipe = `apiVersion: k8snode.io/v1alpha1
kind: Image
metadata: {name: small}
spec:
  epoch: 2026-01-31T12:00:00Z
  distribution: {suite: trixie}
  kernel: {package: linux-image-amd64, suite: trixie-backports}
  packages:
    - curl
    - jq/trixie-backports
  modules:
    - {module: example.org/m, version: v1.0.0, programs: [{package: example.org/m}]}
  containers:
    - {reference: "r.example/m:1", program: m, path: /m, packages: [curl]}
  disk: {rootMiB: 1024}
`

// Packages that do not exist are shown wherever the recipe names them.
func TestExplain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(file, []byte(smallRecipe), 0o600); err != nil {
		t.Fatal(err)
	}
	suites := []string{"trixie", "trixie-backports"}
	curl := &source.PackageError{Package: "curl", Suites: suites}
	backport := &source.PackageError{Package: "jq", Suite: "trixie-backports"}
	kernel := &source.PackageError{Package: "linux-image-amd64", Suite: "trixie-backports"}
	stub := &source.PackageError{Package: "ipxe", Suites: suites}
	other := errors.New("something else")
	for _, tc := range []struct {
		name string
		err  error
		want []string // nil is the error itself
	}{
		{"nothing", nil, nil},
		{"in two places", fmt.Errorf("locking: %w", curl), []string{
			"FILE:9:7: spec.packages[0]: there is no package curl in trixie, trixie-backports",
			"FILE:14:69: spec.containers[0].packages[0]: there is no package curl in trixie, trixie-backports",
		}},
		{"in a suite", errors.Join(fmt.Errorf("resolving: %w", errors.Join(backport)), kernel), []string{
			"FILE:7:21: spec.kernel.package: there is no package linux-image-amd64 in the suite trixie-backports",
			"FILE:10:7: spec.packages[1]: there is no package jq in the suite trixie-backports",
		}},
		{"that no recipe names", errors.Join(curl, stub), nil},
		{"and another error", errors.Join(curl, other), nil},
		{"another error", other, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := cli.Explain(t, file, tc.err)
			if tc.want == nil {
				if !errors.Is(got, tc.err) || errors.As(got, new(report.Problems)) {
					t.Errorf("got %v", got)
				}
				return
			}
			if diff := cmp.Diff(strings.Join(tc.want, "\n"), strings.ReplaceAll(got.Error(), file, "FILE")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The command that remedies name can be pasted.
func TestRecipeCommand(t *testing.T) {
	for _, tc := range []struct {
		recipe string
		set    []string
		lock   string
		want   string
	}{
		{"node", nil, "", "k8snode lock --recipe node"},
		{"my.yaml", []string{"spec.disk.rootMiB=3", "spec.packages[x]=it's"}, "a b.json",
			`k8snode lock --recipe my.yaml --set spec.disk.rootMiB=3 --set 'spec.packages[x]=it'\''s' --lock 'a b.json'`},
	} {
		if got := cli.RecipeCommand(tc.recipe, tc.set, tc.lock); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

func TestPrintPlan(t *testing.T) {
	p := builder.Plan{
		ID: "0123", Cmdline: "quiet", Steps: []builder.Step{{Name: "base", Key: "aa"}, {Name: "root", Key: "bb"}},
		Recipe: images.Recipe{Metadata: images.Metadata{Name: "small"}, Spec: images.Spec{
			Epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Packages: []string{"curl"},
		}},
	}
	var text, js bytes.Buffer
	if err := cli.PrintPlan(&text, &js, p, []string{"my.yaml", "embedded:node.yaml"}, "base"); err != nil {
		t.Fatal(err)
	}
	const want = `image         0123
recipe        my.yaml, which extends embedded:node.yaml
command line  quiet

STEP  KEY  CACHED
base  aa   yes
root  bb   no

metadata:
  name: small
spec:
  epoch: 2026-01-01T00:00:00Z
  packages:
    - curl
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	var got struct {
		ID, Cmdline string
		Files       []string
		Recipe      images.Recipe
		Steps       []struct {
			Name, Key string
			Cached    bool
		}
	}
	if err := json.Unmarshal(js.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "0123" || got.Cmdline != "quiet" || len(got.Files) != 2 || got.Recipe.Metadata.Name != "small" ||
		len(got.Steps) != 2 || !got.Steps[0].Cached || got.Steps[1].Cached || got.Steps[1].Key != "bb" {
		t.Errorf("got %s", js.String())
	}
}
