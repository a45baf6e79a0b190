package images_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
)

func TestSet(t *testing.T) {
	tests := []struct {
		set  []string
		get  func(images.Recipe) any
		want any
	}{
		{[]string{"spec.disk.rootMiB=3072"}, func(r images.Recipe) any { return r.Spec.Disk.RootMiB }, 3072},
		{[]string{"metadata.name=other"}, func(r images.Recipe) any { return r.Metadata.Name }, "other"},
		{[]string{"spec.sysctls[vm.swappiness]=60"}, func(r images.Recipe) any { return r.Spec.Sysctls["vm.swappiness"] }, "60"},
		{[]string{"spec.sysctls.vm.swappiness=60"}, func(r images.Recipe) any { return r.Spec.Sysctls["vm.swappiness"] }, "60"},
		{[]string{`spec.sysctls["vm.swappiness"]=60`}, func(r images.Recipe) any { return r.Spec.Sysctls["vm.swappiness"] }, "60"},
		{[]string{"spec.sysctls.vm=1", "spec.sysctls[vm]=null"}, func(r images.Recipe) any { return len(r.Spec.Sysctls) }, 2},
		{[]string{"spec.outputs=[raw]"}, func(r images.Recipe) any { return r.Spec.Outputs }, []images.Output{"raw"}},
		{[]string{"spec.packages=[htop, -jq]"}, func(r images.Recipe) any { return r.Spec.Packages }, []string{"systemd", "curl", "htop"}},
		{[]string{"spec.packages[curl]=curl/trixie-backports"}, func(r images.Recipe) any { return r.Spec.Packages }, []string{"systemd", "curl/trixie-backports", "jq"}},
		{[]string{"spec.packages[curl]=null"}, func(r images.Recipe) any { return r.Spec.Packages }, []string{"systemd", "jq"}},
		{[]string{"spec.modules[example.org/a].version=v1.2.0"}, func(r images.Recipe) any { return r.Spec.Modules[0].Version }, "v1.2.0"},
		{[]string{"spec.modules[example.org/a].programs[0].path=/usr/bin/b"}, func(r images.Recipe) any { return r.Spec.Modules[0].Programs[0].Path }, "/usr/bin/b"},
		{[]string{"spec.mirrors[https://example.org]=http://127.0.0.1:1/a=b"}, func(r images.Recipe) any { return r.Spec.Mirrors["https://example.org"] }, "http://127.0.0.1:1/a=b"},
		{[]string{"spec.distribution={components: [main, contrib]}"}, func(r images.Recipe) any { return r.Spec.Distribution },
			images.Distribution{Suite: "trixie", Components: []string{"main", "contrib"}}},
		{[]string{"spec.disk.rootMiB=100", "spec.disk.rootMiB=200"}, func(r images.Recipe) any { return r.Spec.Disk.RootMiB }, 200},
		{[]string{"spec.files[/etc/a]={path: /etc/a, source: own/a}"}, func(r images.Recipe) any { return r.Spec.Files[0].Source }, "own/a"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.set, " "), func(t *testing.T) {
			loaded := load(t, "base.yaml", map[string]string{"base.yaml": base}, tt.set...)
			if diff := cmp.Diff(tt.want, tt.get(loaded.Recipe)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	const form = " (write path=value, for instance spec.disk.rootMiB=3072 or spec.sysctls.vm.swappiness=10)"
	tests := []struct {
		set  []string
		want string
	}{
		{[]string{""}, "--set : not a path and a value" + form},
		{[]string{"spec.disk.rootMiB"}, "--set spec.disk.rootMiB: not a path and a value" + form},
		{[]string{"=1"}, "--set =1: not a path and a value" + form},
		{[]string{".spec=1"}, "--set .spec=1: not a path and a value" + form},
		{[]string{"spec.sysctls[a=1"}, "--set spec.sysctls[a=1: not a path and a value" + form},
		{[]string{`spec.sysctls["a]=1`}, `--set spec.sysctls["a]=1: not a path and a value` + form},
		{[]string{"spec.disk.rootMiB="}, `--set spec.disk.rootMiB: the value is empty; write null to remove the field, or "" for an empty text`},
		{[]string{"spec.disk.rootMiB=[1"}, "--set spec.disk.rootMiB: invalid YAML: did not find expected ',' or ']'"},
		{[]string{"spec.disk.rootMB=1"}, `--set spec.disk.rootMB: spec.disk.rootMB: unknown key "rootMB" (did you mean spec.disk.rootMiB?)`},
		{[]string{"sepc.disk.rootMiB=1"}, `--set sepc.disk.rootMiB: sepc: unknown key "sepc" (did you mean spec?)`},
		{[]string{"spec.disk.rootMiB.x=1"}, `--set spec.disk.rootMiB.x: spec.disk.rootMiB: spec.disk.rootMiB has no fields (write spec.disk.rootMiB=VALUE)`},
		{[]string{"spec.disk.rootMiB=many"}, `--set spec.disk.rootMiB: spec.disk.rootMiB: wanted a whole number, got "many"`},
		{[]string{"spec.disk={rootMB: 1}"}, `--set spec.disk: spec.disk.rootMB: unknown key "rootMB" (did you mean "rootMiB"?)`},
		{[]string{"spec.packages.curl=1"}, `--set spec.packages.curl: spec.packages: a list has no keys (write spec.packages[NAME] for one element)`},
		{[]string{"spec.modules[example.org/c].version=v1"}, `--set spec.modules[example.org/c].version: spec.modules: there is no element "example.org/c" (did you mean "example.org/a"?)`},
		{[]string{"spec.modules[example.org/a].programs[1].path=/b"},
			`--set spec.modules[example.org/a].programs[1].path: spec.modules[0].programs: there is no element "1" (the list has 1 elements, counted from 0)`},
		{[]string{"spec.users[nobody-we-know].uid=1"}, `--set spec.users[nobody-we-know].uid: spec.users: there is no element "nobody-we-know" (to add elements, write spec.users=[...])`},
		{[]string{"spec.mirrors[a]=null"}, `--set spec.mirrors[a]: spec.mirrors.a: there is nothing to remove`},
		{[]string{"spec.packages=[-vim]"}, `--set spec.packages: spec.packages[0]: there is no "vim" to remove`},
		{[]string{"spec.packages=&x [vim]"}, `--set spec.packages: the anchor &x is not allowed (write the value out where it is used)`},
		{[]string{"spec.disk.x=1", "spec.disk.y=1"}, `--set spec.disk.x: spec.disk.x: unknown key "x" (the keys here are espMiB, rootMiB, sectorSize, compressionLevel)
--set spec.disk.y: spec.disk.y: unknown key "y" (the keys here are espMiB, rootMiB, sectorSize, compressionLevel)`},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.set, " "), func(t *testing.T) {
			_, err := images.Load("base.yaml", images.LoadOptions{Open: open(tree(map[string]string{"base.yaml": base})), Set: tt.set})
			wantProblems(t, err, tt.want)
		})
	}
}

func TestYAMLRoundTrip(t *testing.T) {
	recipes := map[string]images.Recipe{}
	for _, name := range images.Names() {
		loaded, err := images.Load(name, images.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		recipes[name] = loaded.Recipe
	}
	for _, file := range glob(t, "testdata/valid-*.yaml") {
		r, err := images.Parse(file, read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		recipes[file] = r
	}
	odd := recipes["node"]
	odd.Spec.Files = nil
	for i, text := range []string{"a\nb\n", "  a\nb\n", "\na\n", "a\n\n\n", "a\n b \n", "no", "1.10", "~", "# a", "a: b", "\ta\n\tb\n", "a\r\nb\n", " ", "é\u0085\u2028", "- a\n", "2026-01-31", "0644", "'", `"`, "---\n", "a\\n"} {
		odd.Spec.Files = append(odd.Spec.Files, images.File{Path: fmt.Sprintf("/etc/%d", i), Contents: text, Mode: 0o4711})
	}
	recipes["odd"] = odd
	for name, want := range recipes {
		checkRoundTrip(t, name, want)
	}
}

func checkRoundTrip(t *testing.T, name string, want images.Recipe) {
	t.Helper()
	text, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, err := images.Parse(name, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s\n%s", name, diff, text)
	}
	if again, _ := got.YAML(); string(again) != string(text) {
		t.Errorf("%s: written twice, it differs:\n%s", name, cmp.Diff(string(text), string(again)))
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("packages: [-curl, htop]", "spec.disk.rootMiB=2048")
	f.Add("sysctls: {vm.swappiness: null}\n  files: [{path: /etc/a, remove: true}]", "spec.sysctls[a.b]=1")
	f.Add("modules: [{module: example.org/b, remove: true}]", "spec.containers=[{reference: 'r.example.org/b:v1', remove: true}]")
	f.Add("files: [{path: /etc/x, contents: \"a\\tb\\n\\n\"}]", "spec={files: [{path: /y, contents: z}]}")
	f.Add("units: [&a {name: a}, *a]", "extends=x")
	f.Add("{}", "spec=null")
	f.Fuzz(func(t *testing.T, lines, set string) {
		files := tree(map[string]string{"base.yaml": base, "child.yaml": child("./base.yaml", lines)})
		loaded, err := images.Load("child.yaml", images.LoadOptions{Open: open(files), Set: []string{set}})
		if err != nil {
			var problems report.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			for _, p := range problems {
				if p.File == "" || p.Message == "" || (p.Line < 1 && !strings.HasPrefix(p.File, "--set ")) {
					t.Errorf("incomplete problem %+v", p)
				}
			}
			return
		}
		checkRoundTrip(t, "fuzz.yaml", loaded.Recipe)
	})
}
