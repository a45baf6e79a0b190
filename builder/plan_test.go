package builder_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/golden"
)

func recipe() images.Recipe {
	return images.Recipe{
		Metadata: images.Metadata{Name: "small"},
		Spec: images.Spec{
			Epoch:        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Distribution: images.Distribution{Suite: "trixie", Components: []string{"main"}},
			Kernel:       images.Kernel{Package: "linux-image-amd64", Suite: "trixie-backports", Arguments: []string{"quiet"}},
			Packages:     []string{"systemd"},
			Modules: []images.Module{
				{Module: "example.org/ignition", Version: "v2.26.0", Programs: []images.Program{{Name: "ignition", Package: "example.org/ignition"}}},
				{Module: "example.org/pause", Version: "v1.0.0", Programs: []images.Program{{Name: "pause", Package: "example.org/pause"}}},
			},
			Containers: []images.Container{{Reference: "r.example/pause:1", Role: "all", Program: "pause", Path: "/pause"}},
			Sysctls:    map[string]string{"vm.a": "1"},
			Units:      []images.Unit{{Name: "a.service", Source: "a.service", Enabled: true}},
			Disk:       images.Disk{ESPMiB: 512, RootMiB: 2048, CompressionLevel: 9},
		},
	}
}

func folder() fs.FS { return fstest.MapFS{"a.service": {Data: []byte("[Unit]\n")}} }

func lock(r images.Recipe) builder.Lock {
	return builder.Lock{
		Key:  builder.LockKey(r.Spec),
		Root: []source.Deb{{Package: "systemd", Version: "257", SHA256: strings.Repeat("1", 64)}},
		Boot: []source.Deb{{Package: "ipxe", Version: "1", SHA256: strings.Repeat("2", 64)}},
		Modules: []source.Module{
			{Path: "example.org/ignition", Version: "v2.26.0", Sum: "h1:a"},
			{Path: "example.org/pause", Version: "v1.0.0", Sum: "h1:b"},
		},
	}
}

var host = builder.Host{Toolchain: "go1.26 amd64 v1", AgentSHA256: strings.Repeat("3", 64)}

func plan(t *testing.T, r images.Recipe, l builder.Lock, h builder.Host, dir fs.FS) builder.Plan {
	t.Helper()
	p, err := builder.NewPlan(r, dir, l, h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewPlan(t *testing.T) {
	r := recipe()
	p := plan(t, r, lock(r), host, folder())
	var b strings.Builder
	fmt.Fprintf(&b, "id %s\ncmdline %s\n", p.ID, p.Cmdline)
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s\n", s.Key[:16], s.Name)
	}
	for _, part := range p.Disk.Info.Partitions {
		fmt.Fprintf(&b, "%12d %12d %s %s\n", part.Start, part.Size, part.GUID, part.Label)
	}
	golden.Check(t, "testdata/plan.txt", []byte(b.String()))
}

// Which steps run again after a change is the promise of the cache: no more
// than needed, and never fewer.
func TestPlanInvalidation(t *testing.T) {
	r := recipe()
	before := plan(t, r, lock(r), host, folder())
	for _, tc := range []struct {
		name   string
		change func(*images.Recipe, *builder.Lock, *builder.Host, *fs.FS)
		want   []string
	}{
		{"nothing", func(*images.Recipe, *builder.Lock, *builder.Host, *fs.FS) {}, nil},
		{"a sysctl", func(r *images.Recipe, _ *builder.Lock, _ *builder.Host, _ *fs.FS) {
			r.Spec.Sysctls = map[string]string{"vm.a": "2"}
		}, nil},
		{"a unit's text", func(_ *images.Recipe, _ *builder.Lock, _ *builder.Host, dir *fs.FS) {
			*dir = fstest.MapFS{"a.service": {Data: []byte("[Unit]\n#\n")}}
		}, nil},
		{"a file more", func(r *images.Recipe, _ *builder.Lock, _ *builder.Host, _ *fs.FS) {
			r.Spec.Files = []images.File{{Path: "/etc/a", Contents: "a"}}
		}, []string{"layer base"}},
		{"the compression", func(r *images.Recipe, _ *builder.Lock, _ *builder.Host, _ *fs.FS) {
			r.Spec.Disk.CompressionLevel = 3
		}, []string{"layer base", "layer containers"}},
		{"a kernel argument", func(r *images.Recipe, _ *builder.Lock, _ *builder.Host, _ *fs.FS) {
			r.Spec.Kernel.Arguments = []string{"debug"}
		}, nil},
		{"the agent", func(_ *images.Recipe, _ *builder.Lock, h *builder.Host, _ *fs.FS) {
			h.AgentSHA256 = strings.Repeat("4", 64)
		}, []string{"boot"}},
		{"a key of images", func(r *images.Recipe, _ *builder.Lock, _ *builder.Host, _ *fs.FS) {
			r.Spec.ImageKeys = []string{"a key"}
		}, []string{"boot"}},
		{"a package", func(_ *images.Recipe, l *builder.Lock, _ *builder.Host, _ *fs.FS) {
			l.Root = []source.Deb{{Package: "systemd", Version: "258", SHA256: strings.Repeat("5", 64)}}
		}, []string{"base", "boot", "layer base"}},
		{"the pause module", func(_ *images.Recipe, l *builder.Lock, _ *builder.Host, _ *fs.FS) {
			l.Modules[1].Sum = "h1:c"
		}, []string{"module example.org/pause", "container r.example/pause:1", "layer containers"}},
		{"the compiler", func(_ *images.Recipe, _ *builder.Lock, h *builder.Host, _ *fs.FS) {
			h.Toolchain = "go1.27 amd64 v1"
		}, []string{"module example.org/ignition", "module example.org/pause", "container r.example/pause:1", "boot", "layer containers"}},
		{"what writes the base", func(_ *images.Recipe, _ *builder.Lock, h *builder.Host, _ *fs.FS) {
			h.Mmdebstrap = "mmdebstrap 2"
		}, []string{"base", "boot", "layer base"}},
		{"what writes the ISO", func(_ *images.Recipe, _ *builder.Lock, h *builder.Host, _ *fs.FS) {
			h.Xorriso = "xorriso 2"
		}, nil},
		{"the C compiler, which no module needs, but this one", func(r *images.Recipe, _ *builder.Lock, h *builder.Host, _ *fs.FS) {
			r.Spec.Modules[1].Cgo = true
			h.CToolchain = "gcc 14"
		}, []string{"module example.org/pause", "container r.example/pause:1", "layer containers"}},
		{"a boot file", func(_ *images.Recipe, l *builder.Lock, _ *builder.Host, _ *fs.FS) {
			l.Boot = []source.Deb{{Package: "ipxe", Version: "2", SHA256: strings.Repeat("6", 64)}}
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, h, dir := recipe(), host, folder()
			l := lock(r)
			tc.change(&r, &l, &h, &dir)
			l.Key = builder.LockKey(r.Spec)
			after := plan(t, r, l, h, dir)
			var changed []string
			for i, s := range after.Steps {
				if s.Key != before.Steps[i].Key {
					changed = append(changed, s.Name)
				}
			}
			if diff := cmp.Diff(tc.want, changed); diff != "" {
				t.Errorf("runs again: %s", diff)
			}
			// What needs no step is put together anew.
			if (tc.name != "nothing") != (after.ID != before.ID) {
				t.Errorf("the ID was %s and is %s", before.ID, after.ID)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	r := recipe()
	stale := lock(r)
	stale.Key = "other"
	noIgnition := recipe()
	noIgnition.Spec.Modules = noIgnition.Spec.Modules[1:]
	l := lock(noIgnition)
	l.Modules = l.Modules[1:]
	for _, tc := range []struct {
		name   string
		recipe images.Recipe
		lock   builder.Lock
		dir    fs.FS
		err    string
	}{
		{"stale lock", r, stale, folder(), "planning small: the lock is of another recipe: resolve again"},
		{"no Ignition", noIgnition, l, folder(), `planning small: no program of spec.modules or spec.downloads is named "ignition": the initramfs needs it`},
		{"missing source", r, lock(r), fstest.MapFS{}, `planning small: adding /usr/lib/systemd/system/a.service: reading "a.service" beside the recipe: open a.service: file does not exist`},
	} {
		if _, err := builder.NewPlan(tc.recipe, tc.dir, tc.lock, host); err == nil || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}
