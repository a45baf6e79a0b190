package k8snode_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/builder/k8snode"
)

// What registries and post-processors are told of an image.
func TestArtifact(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	m := images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind, Name: "node", ID: "3f2a", Kernel: "7.3", Kubernetes: "v1.37.2",
		Artifacts:   []images.Artifact{{Path: "pxe/vmlinuz", SHA256: "aa"}},
		Provisioned: []images.Change{{Change: images.ChangeAdded}},
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, images.ManifestFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	a := k8snode.NewArtifact(dir, m)
	if want := "image 3f2a in " + dir + ", kernel 7.3, Kubernetes v1.37.2, 1 files changed by provisioners"; a.String() != want {
		t.Errorf("%s, want %s", a, want)
	}
	if diff := cmp.Diff([]string{dir + "/pxe/vmlinuz", dir + "/manifest.json", dir + "/SHA256SUMS"}, a.Files()); diff != "" {
		t.Error(diff)
	}
	entry, ok := a.State(registryimage.ArtifactStateURI).(*registryimage.Image)
	if !ok {
		t.Fatalf("%T", a.State(registryimage.ArtifactStateURI))
	}
	if err := entry.Validate(); err != nil || entry.ImageID != "3f2a" || entry.Labels["sha256 pxe/vmlinuz"] != "aa" || entry.Labels["provisioned"] != "1" {
		t.Errorf("%+v, %v", entry, err)
	}
	want := map[string]any{"ImageID": "3f2a", "Kernel": "7.3", "Kubernetes": "v1.37.2"}
	if diff := cmp.Diff(want, a.State("generated_data")); diff != "" {
		t.Error(diff)
	}
	if a.State(k8snode.StateManifest) != string(text) || a.State("other") != nil {
		t.Errorf("state: %v, %v", a.State(k8snode.StateManifest), a.State("other"))
	}
	if err := a.Destroy(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("destroyed: %v", err)
	}
}

// What comes out of a root is written below the folder, whatever its archive
// says.
func TestReadTar(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []tar.Header
		wrong   bool
	}{
		{"dots", []tar.Header{{Name: "../../escaped", Typeflag: tar.TypeReg}}, false},
		{"absolute", []tar.Header{{Name: "/escaped", Typeflag: tar.TypeReg}}, false},
		{"through a link", []tar.Header{
			{Name: "out", Linkname: "..", Typeflag: tar.TypeSymlink}, {Name: "out/escaped", Typeflag: tar.TypeReg},
		}, true},
		{"over a link", []tar.Header{
			{Name: "out", Linkname: "../escaped", Typeflag: tar.TypeSymlink}, {Name: "out", Typeflag: tar.TypeReg},
		}, true},
		{"a device", []tar.Header{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range tt.entries {
				h.Mode = 0o644
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			parent := t.TempDir()
			err := k8snode.ReadTar(&b, filepath.Join(parent, "to"), nil)
			if (err != nil) != tt.wrong {
				t.Errorf("%v, want an error: %v", err, tt.wrong)
			}
			if _, err := os.Lstat(filepath.Join(parent, "escaped")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it escaped: %v", err)
			}
			if info, err := os.Lstat(filepath.Join(parent, "to", "null")); err == nil {
				t.Errorf("a device was made: %v", info.Mode())
			}
		})
	}
}

// A folder keeps modes and links, and goes without what is excluded.
func TestTarOfFolder(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{"run.sh": 0o755, "sub/conf": 0o640, "left/out": 0o644} {
		name = filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("run.sh", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := k8snode.WriteTar(&b, from, []string{"left"}); err != nil {
		t.Fatal(err)
	}
	if err := k8snode.ReadTar(&b, to, []string{"sub/other"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(to, func(name string, d os.DirEntry, err error) error {
		if err == nil && name != to {
			info, _ := d.Info()
			got = append(got, info.Mode().String()+" "+strings.TrimPrefix(name, to+"/"))
		}
		return err
	})
	want := []string{"Lrwxrwxrwx link", "-rwxr-xr-x run.sh", "drwxr-xr-x sub", "-rw-r----- sub/conf"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := k8snode.WriteTar(&b, filepath.Join(from, "nothing"), nil); err == nil {
		t.Error("a folder that is not there was packed")
	}
}
