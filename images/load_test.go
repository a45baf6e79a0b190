package images_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
)

const base = `apiVersion: k8snode.io/v1alpha1
kind: Image
metadata: {name: base}
spec:
  epoch: 2026-01-31T12:00:00Z
  distribution: {suite: trixie}
  kernel: {package: linux-image-amd64, suite: trixie-backports, arguments: [quiet, audit=0]}
  packages: [systemd, curl, jq]
  modules:
    - {module: example.org/a, version: v1.0.0, programs: [{package: example.org/a, path: /usr/bin/a}]}
    - {module: example.org/b, version: v1.0.0, programs: [{package: example.org/b}]}
  downloads:
    - {url: "https://example.org/v1/tool", sha256URL: "https://example.org/v1/tool.sha256", path: /usr/bin/tool}
  containers:
    - {reference: "r.example.org/b:v1", program: b, path: /b}
  kernelModules: [overlay, br_netfilter]
  sysctls: {vm.swappiness: 10, net.ipv4.ip_forward: 1}
  journald: {Storage: persistent, SystemMaxUse: 1G}
  units:
    - {name: a.service, source: files/a.service, enabled: true}
    - {name: chrony.service, enabled: true}
  files:
    - {path: /etc/a, source: files/a}
    - {path: /etc/b, contents: b}
  users: [{name: a, uid: 400}]
  disk: {rootMiB: 1024}
`

// child returns a recipe that extends another, with these lines in its spec.
func child(extends string, lines ...string) string {
	spec := "\nspec: {}\n"
	if len(lines) > 0 {
		spec = "\nspec:\n  " + strings.Join(lines, "\n  ") + "\n"
	}
	return "apiVersion: k8snode.io/v1alpha1\nkind: Image\nextends: " + extends + "\nmetadata: {name: child}" + spec
}

// open opens files of a tree, each with its own folder.
func open(tree fstest.MapFS) func(string) (fs.FS, string, error) {
	return func(file string) (fs.FS, string, error) {
		folder, err := fs.Sub(tree, path.Dir(path.Clean(file)))
		return folder, path.Base(file), err
	}
}

func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, content := range files {
		t[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return t
}

func load(t *testing.T, name string, files map[string]string, set ...string) images.Loaded {
	t.Helper()
	loaded, err := images.Load(name, images.LoadOptions{Open: open(tree(files)), Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// Each row is one rule of docs/recipe.md.
func TestMerge(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		get   func(images.Spec) any
		want  any
	}{
		{"nothing said, nothing changed", nil, func(s images.Spec) any { return s.Packages }, []string{"systemd", "curl", "jq"}},
		{"a scalar is replaced", []string{"disk: {rootMiB: 2048}"}, func(s images.Spec) any { return s.Disk.RootMiB }, 2048},
		{"a mapping is merged", []string{"disk: {espMiB: 256}"}, func(s images.Spec) any { return [2]int{s.Disk.ESPMiB, s.Disk.RootMiB} }, [2]int{256, 1024}},
		{"keys are added, replaced and removed", []string{"sysctls: {vm.swappiness: 20, net.ipv4.ip_forward: null, vm.panic_on_oom: 0}"},
			func(s images.Spec) any { return s.Sysctls }, map[string]string{"vm.swappiness": "20", "vm.panic_on_oom": "0"}},
		{"a whole mapping is removed", []string{"journald: null"}, func(s images.Spec) any { return s.Journald }, map[string]string(nil)},
		{"packages", []string{"packages: [curl/trixie-backports, -jq, htop]"}, func(s images.Spec) any { return s.Packages },
			[]string{"systemd", "curl/trixie-backports", "htop"}},
		{"kernel modules, by either spelling", []string{"kernelModules: [-br-netfilter, bonding]"}, func(s images.Spec) any { return s.KernelModules },
			[]string{"overlay", "bonding"}},
		{"kernel arguments", []string{"kernel: {arguments: [-quiet, audit=1]}"}, func(s images.Spec) any { return s.Kernel.Arguments }, []string{"audit=0", "audit=1"}},
		{"modules", []string{"modules:", "  - {module: example.org/a, version: v1.1.0, programs: [{package: example.org/a}]}"},
			func(s images.Spec) any {
				return []string{s.Modules[0].Version, s.Modules[0].Programs[0].Path, s.Modules[1].Version}
			}, []string{"v1.1.0", "", "v1.0.0"}},
		{"removed by name", []string{"modules: [{module: example.org/b, remove: true}]", `containers: [{reference: "r.example.org/b:v1", remove: true}]`},
			func(s images.Spec) any { return len(s.Modules) + 10*len(s.Containers) }, 1},
		{"downloads, by their default name", []string{"downloads: [{name: tool, remove: true}]"}, func(s images.Spec) any { return len(s.Downloads) }, 0},
		{"downloads are replaced", []string{"downloads:", `  - {url: "https://example.org/v2/tool", sha256URL: "https://example.org/v2/tool.sha256"}`},
			func(s images.Spec) any { return []any{len(s.Downloads), s.Downloads[0].URL, s.Downloads[0].Path} }, []any{1, "https://example.org/v2/tool", ""}},
		{"units", []string{"units: [{name: chrony.service, remove: true}, {name: b.service, enabled: true}]"},
			func(s images.Spec) any { return []string{s.Units[0].Name, s.Units[1].Name} }, []string{"a.service", "b.service"}},
		{"files", []string{"files: [{path: /etc/a, contents: other}, {path: /etc/c, contents: c}]"},
			func(s images.Spec) any { return []string{s.Files[0].Contents, s.Files[0].Source, s.Files[2].Path} }, []string{"other", "", "/etc/c"}},
		{"users", []string{"users: [{name: a, uid: 401}]"}, func(s images.Spec) any { return s.Users }, []images.User{{Name: "a", UID: 401}}},
		{"a list without names is replaced", []string{"distribution: {components: [contrib]}"}, func(s images.Spec) any { return s.Distribution.Components }, []string{"contrib"}},
		{"outputs are replaced", []string{"outputs: [pxe]"}, func(s images.Spec) any { return s.Outputs }, []images.Output{"pxe"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			loaded := load(t, "child.yaml", map[string]string{"base.yaml": base, "child.yaml": child("./base.yaml", tt.lines...)})
			if diff := cmp.Diff(tt.want, tt.get(loaded.Recipe.Spec)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if loaded.Recipe.Metadata.Name != "child" || loaded.Recipe.Extends != "" {
				t.Errorf("name %q, extends %q", loaded.Recipe.Metadata.Name, loaded.Recipe.Extends)
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"removing a key that is not there", []string{"sysctls: {vm.swapiness: null}"},
			`child.yaml:6:13: spec.sysctls["vm.swapiness"]: there is no "vm.swapiness" to remove (did you mean "vm.swappiness"?)`},
		{"removing a package that is not there", []string{"packages: [-crul]"}, `child.yaml:6:14: spec.packages[0]: there is no "crul" to remove (did you mean "curl"?)`},
		{"removing a file that is not there", []string{"files:", "  - {path: /etc/z, remove: true}"},
			`child.yaml:7:7: spec.files[0]: there is no "/etc/z" to remove (did you mean "/etc/a"?)`},
		{"removing in a list that is not there", []string{"mirrors: null"}, `child.yaml:6:3: spec.mirrors: there is no "mirrors" to remove`},
		{"a removal with more than a name", []string{"files: [{path: /etc/a, mode: 0600, remove: true}]"},
			`child.yaml:6:11: spec.files[0]: an element that removes another has its name and nothing else (write {path: NAME, remove: true})`},
		{"remove: false", []string{"files: [{path: /etc/a, remove: false}]"},
			`child.yaml:6:34: spec.files[0].remove: wanted true, got the bool false (write {path: NAME, remove: true})`},
		{"a name twice in one recipe", []string{"packages: [curl, curl]"}, `child.yaml:6:20: spec.packages[3]: "curl" is already at spec.packages[1] (remove one of them)`},
		{"added and removed in one recipe", []string{"packages: [htop, -htop]"}, `child.yaml:6:20: spec.packages[1]: "htop" is added and removed (remove one of the two)`},
		{"a list in place of a mapping", []string{"sysctls: [a]"}, `child.yaml:6:3: spec.sysctls: wanted keys and values, got a list`},
		{"an anchor", []string{"packages: &x [curl]"}, `child.yaml:6:13: spec.packages: the anchor &x is not allowed (write the value out where it is used)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"base.yaml": base, "child.yaml": child("./base.yaml", tt.lines...)}
			loaded, err := images.Load("child.yaml", images.LoadOptions{Open: open(tree(files))})
			wantProblems(t, err, tt.want)
			if loaded.Sources != nil {
				t.Error("there are sources of a recipe with problems")
			}
		})
	}
}

// Every problem is at the line that it is in, in whichever file.
func TestMergePositions(t *testing.T) {
	files := map[string]string{
		"a/base.yaml":   strings.Replace(base, "audit=0", "root=x", 1),
		"a/middle.yaml": child("base.yaml", "packages: [Htop]"),
		"child.yaml":    child("a/middle.yaml", "disk: {rootMiB: 1}", "sysctls: {swap: 1}"),
	}
	_, err := images.Load("child.yaml", images.LoadOptions{Open: open(tree(files)), Set: []string{"spec.disk.espMiB=1"}})
	wantProblems(t, err, `--set spec.disk.espMiB: spec.disk.espMiB: 1 is out of range (use 128 to 4096)
a/base.yaml:7:84: spec.kernel.arguments[1]: root is set by k8snode (remove it)
a/middle.yaml:6:14: spec.packages[3]: "Htop" is not the name of a Debian package (write name or name/suite)
child.yaml:6:19: spec.disk.rootMiB: 1 is out of range (use 64 to 65536)
child.yaml:7:19: spec.sysctls.swap: "swap" is not a sysctl key (write it as net.ipv4.ip_forward)`)
}

func TestExtendsRefuses(t *testing.T) {
	long := map[string]string{}
	for i := range 10 {
		long[fmt.Sprintf("%d.yaml", i)] = child(fmt.Sprintf("./%d.yaml", i+1))
	}
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no such embedded recipe", map[string]string{"0.yaml": child("nodes")},
			`0.yaml:3:10: extends: there is no embedded recipe "nodes" (use one of ` + strings.Join(images.Names(), ", ") + `, or a path such as ./nodes.yaml)`},
		{"no such file", map[string]string{"0.yaml": child("./1.yaml")}, `0.yaml:3:10: extends: reading "./1.yaml": open 1.yaml: file does not exist`},
		{"absolute", map[string]string{"0.yaml": child("/1.yaml")}, `0.yaml:3:10: extends: "/1.yaml" is absolute (write a path relative to this file)`},
		{"itself", map[string]string{"0.yaml": child("./0.yaml")},
			`0.yaml:3:10: extends: the recipe extends itself: 0.yaml -> 0.yaml (let the last of them extend another, or none)`},
		{"a circle", map[string]string{"0.yaml": child("a/1.yaml"), "a/1.yaml": child("../0.yaml")},
			`a/1.yaml:3:10: extends: the recipe extends itself: 0.yaml -> a/1.yaml -> 0.yaml (let the last of them extend another, or none)`},
		{"too long", long,
			`7.yaml:3:10: extends: more than 8 recipes extend one another: 0.yaml -> 1.yaml -> 2.yaml -> 3.yaml -> 4.yaml -> 5.yaml -> 6.yaml -> 7.yaml -> 8.yaml`},
		{"another kind", map[string]string{"0.yaml": child("./1.yaml"), "1.yaml": "apiVersion: k8snode.io/v1alpha1\nkind: Cluster\n"},
			`1.yaml:2:7: kind: wanted Image, got "Cluster"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := images.Load("0.yaml", images.LoadOptions{Open: open(tree(tt.files))})
			wantProblems(t, err, tt.want)
		})
	}
	if _, err := images.Load("no-such", images.LoadOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading an unknown recipe: %v", err)
	}
	if _, err := images.Load("./a.yaml", images.LoadOptions{}); err == nil || !strings.Contains(err.Error(), "only the embedded recipes") {
		t.Errorf("loading a file without Open: %v", err)
	}
}

// A source is the file of the recipe that names it, also where two recipes
// have one name for two files.
func TestLoadSources(t *testing.T) {
	files := map[string]string{
		"base/base.yaml": base, "base/files/a": "base's a", "base/files/a.service": "base's unit",
		"child.yaml": child("base/base.yaml", "files: [{path: /etc/c, source: files/a}]", `containers: [{reference: "r.example.org/l:v1", layout: layouts/l}]`),
		"files/a":    "child's a", "layouts/l/index.json": "{}", "files/secret": "not named by anybody",
	}
	loaded := load(t, "child.yaml", files)
	var got []string
	for _, f := range loaded.Recipe.Spec.Files {
		if f.Source != "" {
			got = append(got, f.Path+": "+f.Source+": "+string(readFS(t, loaded.Sources, f.Source)))
		}
	}
	got = append(got, string(readFS(t, loaded.Sources, loaded.Recipe.Spec.Units[0].Source)))
	got = append(got, string(readFS(t, loaded.Sources, "layouts/l/index.json")))
	want := []string{"/etc/a: extends-1/files/a: base's a", "/etc/c: files/a: child's a", "base's unit", "{}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"child.yaml", "base/base.yaml"}, loaded.Files); diff != "" {
		t.Errorf("files: -want +got:\n%s", diff)
	}
	for _, name := range []string{"files/secret", "child.yaml", "../child.yaml", "/etc/passwd", "."} {
		if _, err := fs.ReadFile(loaded.Sources, name); err == nil {
			t.Errorf("%s can be read, which no recipe names", name)
		}
	}
}

func readFS(t *testing.T, folder fs.FS, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(folder, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What "plan" prints is a recipe, and the same one.
// Whatever a recipe lays over another, and whatever is set: there are problems
// or a recipe that reads back as itself.
func wantProblems(t *testing.T, err error, want string) {
	t.Helper()
	var problems report.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got error %v, want report.Problems", err)
	}
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNamesAreEmbedded(t *testing.T) {
	for _, name := range images.Names() {
		if !images.IsEmbedded(name) {
			t.Errorf("%s is taken for a file", name)
		}
	}
	if slices.ContainsFunc([]string{"./node", "node.yaml", "a/b"}, images.IsEmbedded) {
		t.Error("a path is taken for an embedded recipe")
	}
}
