package verify_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/images"
)

func TestGood(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*verifytest.Parts)
		files  int
	}{
		{"all outputs", func(*verifytest.Parts) {}, 12},
		{"raw", func(p *verifytest.Parts) { p.Recipe.Spec.Outputs = []images.Output{images.OutputRaw} }, 4},
		{"zstd", func(p *verifytest.Parts) { p.Recipe.Spec.Outputs = []images.Output{images.OutputZstd} }, 5},
		{"iso", func(p *verifytest.Parts) { p.Recipe.Spec.Outputs = []images.Output{images.OutputISO} }, 4},
		{"pxe", func(p *verifytest.Parts) { p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE} }, 7},
		{"4096-byte sectors", func(p *verifytest.Parts) { p.Recipe.Spec.Disk.SectorSize, p.Recipe.Spec.Disk.ESPMiB = 4096, 260 }, 12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := verifytest.Default(os.Environ())
			tc.change(p)
			o := options()
			var last verify.Progress
			o.Progress = func(p verify.Progress) { last = p }
			r, err := verify.Verify(t.Context(), bake(t, p), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Error(err)
			}
			want := []string{
				"/usr/bin/sudo runs with rights of its owner or group: its mode is 4755, its owner 0:0",
				"remote-fs.target is enabled by the distribution's /usr/lib/systemd/system-preset/90-systemd.preset",
			}
			if diff := cmp.Diff(want, r.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			if r.Name != "test" || r.ID != verifytest.ImageID || r.Files != tc.files || r.RootFiles != 28 || r.Packages != 4 {
				t.Errorf("the report says %+v", r)
			}
			if last.Files != tc.files-1 || last.Files != last.TotalFiles || last.Bytes != last.TotalBytes || last.Bytes < r.Bytes-1000 {
				t.Errorf("progress ends with %+v, and there are %d bytes", last, r.Bytes)
			}
		})
	}
}

// TestTheSame checks what the artifacts say of one another: each is good alone.
// TestInstallerAlone: it takes its root from a server, so it has none to look at.
func TestInstallerAlone(t *testing.T) {
	t.Parallel()
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Outputs = []images.Output{images.OutputInstaller}
	r, err := verify.Verify(t.Context(), bake(t, p), options())
	if err != nil || r.Err() != nil || r.Files != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTheSame(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*verifytest.Parts)
		want   []string
	}{
		{"the UKI's kernel", func(p *verifytest.Parts) { p.Uname = "7.4.0-other" }, []string{
			`disk.raw: the UKI says that its kernel is "7.4.0-other", and the manifest "7.3.4-test"; bake again`,
		}},
		{"the UKI's command line", func(p *verifytest.Parts) { p.Cmdline = words("uki", "console=tty1") }, []string{
			`disk.raw: the UKI has the command line "console=tty1", and the manifest "CMDLINE"; bake again`,
		}},
		{"GRUB's command line", func(p *verifytest.Parts) { p.Cmdline = words("grub", "init=/bin/sh") }, []string{
			`disk.raw: GRUB's menu has the command line "init=/bin/sh", and it should be "CMDLINE"; bake again`,
		}},
		{"the ISO's command line", func(p *verifytest.Parts) { p.Cmdline = words("iso", "single") }, []string{
			`live.iso: GRUB's menu has the command line "single", and it should be "LIVE"; bake again`,
		}},
		{"the installer's command line", func(p *verifytest.Parts) { p.Cmdline = words("installer", "single") }, []string{
			`installer.iso: GRUB's menu has the command line "single", and it should be "INSTALLER"; bake again`,
		}},
		{"the UKI's os-release", func(p *verifytest.Parts) { p.Root["/usr/lib/os-release"] = verifytest.File("ID=other\n") }, []string{
			"disk.raw: the UKI's section .osrel is not /usr/lib/os-release of the root; bake again",
		}},
		{"outputs that the recipe does not have", func(p *verifytest.Parts) {
			p.Manifest = func(m *images.Manifest) {
				r := *m.Recipe
				r.Spec.Outputs = []images.Output{images.OutputRaw, images.OutputPXE}
				m.Recipe = &r
			}
		}, []string{
			"disk.blockmap.json: the manifest lists it, and the recipe does not have the output zstd; bake again",
			"disk.raw.zst: the manifest lists it, and the recipe does not have the output zstd; bake again",
			"installer.iso: the manifest lists it, and the recipe does not have the output installer; bake again",
			"live.iso: the manifest lists it, and the recipe does not have the output iso; bake again",
		}},
		{"outputs that the manifest does not have", func(p *verifytest.Parts) {
			p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
			p.Manifest = func(m *images.Manifest) {
				r := *m.Recipe
				r.Spec.Outputs = nil
				m.Recipe = &r
			}
		}, []string{
			"disk.blockmap.json: it is missing; copy the folder again, or bake again",
			"disk.blockmap.json: the manifest does not list it, and the recipe has the output zstd; bake again",
			"disk.raw: it is missing; copy the folder again, or bake again",
			"disk.raw: the manifest does not list it, and the recipe has the output raw; bake again",
			"disk.raw.zst: it is missing; copy the folder again, or bake again",
			"disk.raw.zst: the manifest does not list it, and the recipe has the output zstd; bake again",
			"installer.iso: it is missing; copy the folder again, or bake again",
			"installer.iso: the manifest does not list it, and the recipe has the output installer; bake again",
			"live.iso: it is missing; copy the folder again, or bake again",
			"live.iso: the manifest does not list it, and the recipe has the output iso; bake again",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := verifytest.Default(os.Environ())
			tc.change(p)
			dir := bake(t, p)
			got := findings(t, dir, options())
			for i := range got {
				got[i] = maskCmdline(got[i])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// words replaces the command line of one artifact.
func words(where, with string) func(string, string) string {
	return func(artifact, s string) string {
		if artifact == where {
			return with
		}
		return s
	}
}

func TestOptions(t *testing.T) {
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
	p.Root["/etc/leak.conf"] = verifytest.File("see /build/step-1/archive\n")
	dir := bake(t, p)
	entries, err := tree.FromRecipe(p.Recipe.Spec, p.Sources)
	if err != nil {
		t.Fatal(err)
	}
	files, err := tree.Installed(entries)
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Recipe, o.Files, o.Inputs = &p.Recipe, files, p.Inputs
	if got := findings(t, dir, o); len(got) != 0 {
		t.Errorf("with what is true: %q", got)
	}

	other := p.Recipe
	other.Metadata.Name = "other"
	other.Spec.Sysctls = map[string]string{"vm.swappiness": "1"}
	other.Spec.Mirrors = map[string]string{"https://example.org": "http://127.0.0.1:1"}
	other.Spec.Disk.ESPMiB = 512
	files[0].Mode = 0o700
	o = options()
	o.Recipe, o.Files, o.Inputs = &other, files, append(p.Inputs[1:], images.Input{Source: "deb", Name: "bash", Version: "5.3", Digest: "sha256:" + verifytest.Zero})
	o.BuildPaths = []string{"/build/step-1"}
	want := []string{
		"manifest.json: it does not list " + files[0].Path + " as the recipe makes it; bake again",
		"manifest.json: it has deb bash 5.2 sha256:" + verifytest.Zero + ", which the lock has not; bake again",
		"manifest.json: it lacks deb bash 5.3 sha256:" + verifytest.Zero + ", which the lock has; bake again",
		"manifest.json: the image was made of another recipe, with other metadata, spec.disk, spec.sysctls; bake again",
		"pxe/rootfs.squashfs: /etc/leak.conf names /build/step-1, a folder of the machine that baked; bake again",
	}
	if diff := cmp.Diff(want, findings(t, dir, o)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := verify.Verify(t.Context(), filepath.Join(dir, "gone"), options()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Verify(t.Context(), name, options()); err == nil || err.Error() != "verifying an image: \""+name+"\" is not a folder" {
		t.Errorf("a file: %v", err)
	}
	got := findings(t, dir, options())
	want := []string{"manifest.json: it is missing; name the folder that a bake made"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an empty folder (-want +got):\n%s", diff)
	}
	t.Run("called off", func(t *testing.T) {
		p := verifytest.Default(os.Environ())
		p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
		ctx, cancel := context.WithCancel(t.Context())
		good := bake(t, p)
		cancel()
		if _, err := verify.Verify(ctx, good, options()); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
	t.Run("without tools", func(t *testing.T) {
		t.Setenv("PATH", dir)
		if _, err := verify.Verify(t.Context(), dir, options()); !errors.Is(err, source.ErrMissingTool) {
			t.Errorf("error %v, want %v", err, source.ErrMissingTool)
		}
	})
}
