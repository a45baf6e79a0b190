package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
)

// TestReproducible bakes the image again, with all that must not matter changed:
// the folder, the working directory, the time zone, the umask, the user's name,
// the locale and the number of jobs. Steps come from the cache; root, disk, ISO
// and what describes them are made anew.
func TestReproducible(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	dir := besideImage(t)
	again := filepath.Join(dir, "elsewhere", "image")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec "$@"`, "sh",
		absolute(t, *k8snode), "bake", "--recipe", recipePath(t), "--out", again, "--jobs", "1")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ=Pacific/Kiritimati", "USER=somebody", "LOGNAME=somebody", "LC_ALL=C.UTF-8", "LANG=tr_TR.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("baking again: %v\n%s", err, out)
	}
	if diff := cmp.Diff(sums(t, *image), sums(t, again)); diff != "" {
		t.Errorf("the same inputs gave other bytes; \"k8snode bake --check\" names the first that differs (-first +second):\n%s", diff)
	}
}

// sums returns the lines of a folder's digests, which the bake has verified.
func sums(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, images.SumsFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestOutputs bakes every output alone: each is whole without the others, and
// verified.
func TestOutputs(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	for output, want := range map[images.Output][]string{
		images.OutputRaw:  {images.RawFile},
		images.OutputZstd: {images.DiskFile, images.BlockMapFile},
		images.OutputPXE:  {images.KernelFile, images.InitrdFile, images.RootFile, images.IPXEFile},
		images.OutputISO:  {images.ISOFile},

		images.OutputInstaller: {images.InstallerFile},
	} {
		t.Run(string(output), func(t *testing.T) {
			out := filepath.Join(besideImage(t), "image")
			bake(t, []string{"--recipe", recipePath(t), "--set", "spec.outputs=[" + string(output) + "]", "--out", out})
			m, err := images.OpenManifest(out)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range m.Artifacts {
				got = append(got, a.Path)
			}
			want := append(want, images.SBOMFile)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("artifacts (-want +got):\n%s", diff)
			}
		})
	}
}

// recipePath is the recipe under test, from wherever a bake runs.
func recipePath(t *testing.T) string {
	t.Helper()
	if images.IsEmbedded(*recipe) {
		return *recipe
	}
	return absolute(t, *recipe)
}
