package images_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
)

func TestParseMinimal(t *testing.T) {
	got, err := images.Parse("valid-minimal.yaml", read(t, "testdata/valid-minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := images.Recipe{
		APIVersion: "k8snode.io/v1alpha1",
		Kind:       "Image",
		Metadata:   images.Metadata{Name: "minimal"},
		Spec: images.Spec{
			Epoch:        time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
			Distribution: images.Distribution{Suite: "trixie", Components: []string{"main"}},
			Kernel:       images.Kernel{Package: "linux-image-amd64", Suite: "trixie-backports"},
			Disk:         images.Disk{ESPMiB: 512, RootMiB: 1024, SectorSize: 512, CompressionLevel: 9},
			Outputs:      []images.Output{"raw", "zstd", "pxe", "iso", "installer"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDefaultEpochIsUTC(t *testing.T) {
	r, err := images.Parse("valid-full.yaml", read(t, "testdata/valid-full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Spec.Epoch.Format(time.RFC3339); got != "2026-01-31T10:00:00Z" {
		t.Errorf("got epoch %s", got)
	}
}

func TestDefaultProgramName(t *testing.T) {
	tests := []struct {
		program images.Program
		want    string
	}{
		{images.Program{Package: "example.org/tools/cmd/serve"}, "serve"},
		{images.Program{Package: "example.org/tools/v2"}, "tools"},
		{images.Program{Package: "example.org/tools/v12"}, "tools"},
		{images.Program{Package: "example.org/tools/v1"}, "v1"},
		{images.Program{Package: "example.org/tools/cmd/v2ray"}, "v2ray"},
		{images.Program{CSource: "build/linux/pause.c"}, "pause"},
		{images.Program{Package: "example.org/tools", Name: "own"}, "own"},
		{images.Program{}, ""},
	}
	for _, tt := range tests {
		var r images.Recipe
		r.Spec.Modules = []images.Module{{Programs: []images.Program{tt.program}}}
		if got := r.Default().Spec.Modules[0].Programs[0].Name; got != tt.want {
			t.Errorf("%+v: got name %q, want %q", tt.program, got, tt.want)
		}
		if r.Spec.Modules[0].Programs[0] != tt.program {
			t.Errorf("%+v: Default changed its receiver", tt.program)
		}
	}
}

func TestDefaultContainerAndFile(t *testing.T) {
	var r images.Recipe
	r.Spec.Containers = []images.Container{{Path: "/pause"}, {Path: "/a", Role: "controlPlane", Entrypoint: []string{"/a", "-v"}, User: "1:1"}}
	r.Spec.Files = []images.File{{Path: "/a", Contents: "a"}, {Path: "/b", Directory: true}, {Path: "/c", Symlink: "b"}, {Path: "/d", Source: "d", Mode: 0o600}}
	got := r.Default().Spec
	wantContainers := []images.Container{
		{Path: "/pause", Role: "all", Entrypoint: []string{"/pause"}, User: "0:0"},
		{Path: "/a", Role: "controlPlane", Entrypoint: []string{"/a", "-v"}, User: "1:1"},
	}
	if diff := cmp.Diff(wantContainers, got.Containers); diff != "" {
		t.Errorf("containers: -want +got:\n%s", diff)
	}
	var modes []uint32
	for _, f := range got.Files {
		modes = append(modes, f.Mode)
	}
	if diff := cmp.Diff([]uint32{0o644, 0o755, 0, 0o600}, modes); diff != "" {
		t.Errorf("modes: -want +got:\n%s", diff)
	}
	if r.Spec.Containers[0].Role != "" || r.Spec.Files[0].Mode != 0 {
		t.Error("Default changed its receiver")
	}
}

func TestManifestArtifact(t *testing.T) {
	m := images.Manifest{Artifacts: []images.Artifact{{Path: "disk.raw.zst", Size: 1}, {Path: "pxe/vmlinuz", Size: 2}}}
	if got, ok := m.Artifact(images.KernelFile); !ok || got.Size != 2 {
		t.Errorf("got %+v, %t", got, ok)
	}
	if got, ok := m.Artifact("no-such-file"); ok {
		t.Errorf("found %+v", got)
	}
}

// A recipe that Parse accepts stays the same and valid.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := images.Parse("r.yaml", data)
		if err != nil {
			var problems report.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			return
		}
		if diff := cmp.Diff(r, r.Default()); diff != "" {
			t.Errorf("Default changes a parsed recipe:\n%s", diff)
		}
		if problems := r.Validate(); len(problems) > 0 {
			t.Errorf("Validate refuses a parsed recipe:\n%v", problems)
		}
	})
}
