package request_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/request"
	"github.com/k8snode/k8snode/builder/source"
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
	job, err := request.Request{Recipe: file}.Open(builder.Options{})
	if err != nil {
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
			got := job.Explain(tc.err)
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
		if got := (request.Request{Recipe: tc.recipe, Set: tc.set, Lock: tc.lock}).Command("lock"); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// A lock is the one beside the file, unless it would be of something else.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "small.yaml")
	beside := filepath.Join(dir, "small.lock.json")
	for name, content := range map[string]string{file: smallRecipe, beside: "{}"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name                 string
		request              request.Request
		lock, seed, lockFile string
	}{
		{"beside", request.Request{Recipe: file}, beside, "", beside},
		{"named", request.Request{Recipe: file, Lock: "my.json"}, "my.json", "", "my.json"},
		{"overrides that pin nothing else", request.Request{Recipe: file, Set: []string{"spec.disk.rootMiB=2048"}}, beside, "", beside},
		{"overrides of what is pinned", request.Request{Recipe: file, Set: []string{"spec.packages=[jq]"}}, "", "{}", beside},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job, err := tc.request.Open(builder.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if job.Options.Lock != tc.lock || string(job.Options.Seed) != tc.seed || job.LockFile != tc.lockFile {
				t.Errorf("lock %q, seed %q, file %q", job.Options.Lock, job.Options.Seed, job.LockFile)
			}
		})
	}
}

func TestUnknownRecipe(t *testing.T) {
	_, err := request.Request{Recipe: "nod"}.Open(builder.Options{})
	unknown := (*request.UnknownRecipeError)(nil)
	if !errors.As(err, &unknown) || !strings.Contains(unknown.Hint(), "node, release; name a file by a path such as ./nod.yaml") {
		t.Errorf("%v", err)
	}
	if _, err := (request.Request{Recipe: "./nod.yaml"}).Open(builder.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file: %v", err)
	}
}
