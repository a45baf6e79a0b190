package builder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReplaceDir(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "node")
	for _, content := range []string{"first", "second"} {
		tmp := filepath.Join(dir, ".node-tmp")
		write(t, filepath.Join(tmp, "disk"), content)
		if err := builder.ReplaceDir(tmp, out, tmp+".old"); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(out, "disk")); err != nil || string(b) != content {
			t.Errorf("got %q, %v; want %q", b, err, content)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}

	// What cannot be put in place leaves the former image where it was.
	if err := builder.ReplaceDir(filepath.Join(dir, "missing"), out, filepath.Join(dir, "old")); err == nil {
		t.Error("replaced an image by nothing")
	}
	if b, err := os.ReadFile(filepath.Join(out, "disk")); err != nil || string(b) != "second" {
		t.Errorf("the former image: %q, %v", b, err)
	}
}

func TestPublished(t *testing.T) {
	dir := t.TempDir()
	m := images.Manifest{APIVersion: images.APIVersion, Kind: images.ManifestKind, ID: "1", Artifacts: []images.Artifact{{Path: "pxe/vmlinuz", Size: 3}}}
	check := func(id string, want bool, what string) {
		t.Helper()
		if got, ok := builder.Published(dir, id); ok != want || ok && got.ID != id {
			t.Errorf("%s: got %v, want %v", what, ok, want)
		}
	}
	check("1", false, "an empty folder")
	if err := builder.WriteJSON(filepath.Join(dir, images.ManifestFile), m); err != nil {
		t.Fatal(err)
	}
	check("1", false, "a folder without its artifact")
	write(t, filepath.Join(dir, "pxe/vmlinuz"), "abc")
	check("1", true, "a complete folder")
	check("2", false, "another image")
	write(t, filepath.Join(dir, "pxe/vmlinuz"), "ab")
	check("1", false, "a truncated artifact")
}

func TestCompareFolders(t *testing.T) {
	m := images.Manifest{
		Artifacts: []images.Artifact{{Path: images.RawFile}, {Path: images.KernelFile}},
		Disk:      images.DiskInfo{Partitions: []images.Partition{{Label: "esp", Start: 4, Size: 4}}},
	}
	good := map[string]string{
		images.ManifestFile: "{}", images.SumsFile: "", images.RawFile: "0123456789", images.KernelFile: "linux",
	}
	for _, tt := range []struct{ name, file, content, want string }{
		{"equal", "", "", ""},
		{"in a partition", images.RawFile, "012345678X", "not reproducible: two bakes of disk.raw differ first at byte 9 (outside of the partitions)"},
		{"outside", images.RawFile, "01234X6789", "not reproducible: two bakes of disk.raw differ first at byte 5 (byte 1 of partition esp)"},
		{"longer", images.KernelFile, "linux!", "not reproducible: two bakes of pxe/vmlinuz differ first at byte 5"},
		{"missing", images.KernelFile, "-", "not reproducible: only one of two bakes made pxe/vmlinuz"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := t.TempDir(), t.TempDir()
			for name, content := range good {
				write(t, filepath.Join(a, name), content)
				if name == tt.file {
					content = tt.content
				}
				if content != "-" {
					write(t, filepath.Join(b, name), content)
				}
			}
			err := builder.CompareFolders(a, b, m)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
