package archtest_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/archtest"
)

func TestK8snode(t *testing.T) {
	source, err := archtest.Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range archtest.K8snode().Check(source) {
		t.Error(violation)
	}
}

// The rules must find what they are there for.
func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		rules archtest.Rules
		files map[string]string
		want  []string
	}{
		{
			"nothing wrong",
			archtest.Rules{
				Packages: []archtest.Package{{"a", []string{"b"}, "a uses b"}, {"b", nil, "leaf"}},
				Planned:  []archtest.Package{{"c", nil, "later"}},
			},
			map[string]string{"a/a.go": `package a; import _ "github.com/k8snode/k8snode/b"`, "b/b.go": "package b"},
			nil,
		},
		{
			"an import that the row does not allow",
			archtest.Rules{Packages: []archtest.Package{{"a", []string{"b/c"}, "leaf"}, {"b", nil, "leaf"}}},
			map[string]string{"a/a.go": `package a; import _ "github.com/k8snode/k8snode/b"`, "b/b.go": "package b"},
			[]string{"a: imports b, its row does not allow it (leaf)"},
		},
		{
			"planned rows are rules as well",
			archtest.Rules{Packages: []archtest.Package{{"b", nil, "leaf"}}, Planned: []archtest.Package{{"a", nil, "leaf"}}},
			map[string]string{"a/a.go": `package a; import _ "github.com/k8snode/k8snode/b"`, "b/b.go": "package b"},
			[]string{"a: imports b, its row does not allow it (leaf)"},
		},
		{
			"table and source differ",
			archtest.Rules{Packages: []archtest.Package{{"a", nil, ""}, {"a", nil, "again"}}},
			map[string]string{"b/b.go": "package b", "b/testdata/c.go": "not Go", "d/go.mod": "module d", "d/d.go": "package d", "f/go.mod": "// ours\nmodule github.com/k8snode/k8snode/f\n", "f/f.go": "package f", "e/e_test.go": "package e", ".f/f.go": "package f"},
			[]string{"a: a row without a package", "a: a row without a package", "a: a row without a reason", "a: two rows in the table", "b: a package without a row", "f: a package without a row"},
		},
		{
			"an area reaches another through a third package",
			archtest.Rules{
				Packages: []archtest.Package{{"a", []string{"b"}, "-"}, {"b", []string{"c/d", "c/e"}, "-"}, {"c/d", nil, "-"}, {"c/e", nil, "-"}},
				Areas:    []archtest.Area{{Name: "bake", Packages: []string{"a/..."}, Never: []string{"c/..."}, Except: []string{"c/e"}, Why: "apart"}},
			},
			map[string]string{
				"a/a.go":   `package a; import _ "github.com/k8snode/k8snode/b"`,
				"b/b.go":   "package b\nimport (\n_ \"github.com/k8snode/k8snode/c/d\"\n_ \"github.com/k8snode/k8snode/c/e\"\n)",
				"c/d/d.go": "package d", "c/e/e.go": "package e",
			},
			[]string{"a: bake reaches b -> c/d (apart)"},
		},
		{
			"a dependency of somebody else, with any build tag",
			archtest.Rules{
				Packages: []archtest.Package{{"a", nil, "-"}, {"b", nil, "-"}},
				Owners:   []archtest.Owner{{Dependency: "example.org/heavy", Packages: []string{"b"}, Why: "one place"}},
			},
			map[string]string{
				"a/a_windows.go": "//go:build windows\n\npackage a\n\nimport _ \"example.org/heavy/v2/part\"",
				"a/light.go":     `package a; import _ "example.org/heavyweight"`,
				"b/b.go":         `package b; import _ "example.org/heavy"`,
				"a/a_test.go":    `package a; import _ "example.org/heavy"`,
			},
			[]string{"a/a_windows.go: imports example.org/heavy/v2/part, which only b may (one place)"},
		},
		{
			"the clock, under any name, called or not",
			archtest.Rules{
				Packages: []archtest.Package{{"a", nil, "-"}, {"cmd/b", nil, "-"}},
				Bans:     []archtest.Ban{{Names: []string{"time.Now", "math/rand/v2.*"}, Allowed: []string{"math/rand/v2.New"}, Except: []string{"cmd/..."}, Why: "an argument"}},
			},
			map[string]string{
				"a/a.go":     "package a\nimport \"time\"\nvar a = time.Now()\nvar b = time.Unix\n",
				"a/b.go":     "package a\nimport clock \"time\"\nvar c = clock.Now\n",
				"a/c.go":     "package a\nimport \"math/rand/v2\"\nvar d = rand.IntN(5)\nvar e = rand.New\n",
				"a/d.go":     "package a\ntype t struct{ Now int }\nvar time t\nvar e = time.Now\n",
				"cmd/b/b.go": "package main\nimport \"time\"\nvar a = time.Now()\n",
			},
			[]string{
				"a/a.go:3: uses time.Now (an argument)",
				"a/b.go:3: uses time.Now (an argument)",
				"a/c.go:3: uses math/rand/v2.IntN (an argument)",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			source, err := archtest.Load(root)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.rules.Check(source)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadRefusesWhatIsNotGo(t *testing.T) {
	_, err := archtest.Load(fstest.MapFS{"a/a.go": {Data: []byte("nonsense")}})
	want := "reading the source: a/a.go:1:1: expected 'package', found nonsense"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
