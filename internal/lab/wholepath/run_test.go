package wholepath_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab/wholepath"
)

// imageFolder is a folder with a manifest and nothing else.
func imageFolder(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// manifest is the little of one that these tests look at.
func manifest(kubernetes string) string {
	return `{"apiVersion": "k8snode.io/v1alpha1", "kind": "ImageManifest", "kubernetes": "` + kubernetes + `"}`
}

func options(t *testing.T) wholepath.Options {
	t.Helper()
	return wholepath.Options{
		Dir:     filepath.Join(t.TempDir(), "work"),
		Image:   imageFolder(t, manifest("v1.37.2")),
		K8snode: filepath.Join("testdata", "k8snode.sh"),
		Kubectl: filepath.Join("testdata", "k8snode.sh"),
		Now:     time.Now,
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *wholepath.Options)
		want   string
	}{
		{"nothing", func(_ *testing.T, o *wholepath.Options) { *o = wholepath.Options{} }, `^starting the whole path: the work folder is not given
the image folder is not given
the k8snode program is not given
the clock is not given$`},
		{"no image", func(t *testing.T, o *wholepath.Options) { o.Image = t.TempDir() },
			`^starting the whole path: reading the image: open .*/manifest.json: no such file or directory; bake one with "k8snode bake"$`},
		{"broken manifest", func(t *testing.T, o *wholepath.Options) { o.Image = imageFolder(t, `{`) },
			`^starting the whole path: reading .*/manifest.json: unexpected end of JSON input$`},
		{"not a program", func(_ *testing.T, o *wholepath.Options) { o.Kubectl = "doc.go" },
			`^starting the whole path: .*/doc.go is not a program$`},
		{"used folder", func(_ *testing.T, o *wholepath.Options) { o.Dir = o.Image },
			`^starting the whole path: the work folder .* is not empty$`},
		{"another Kubernetes", func(t *testing.T, o *wholepath.Options) { o.Image = imageFolder(t, manifest("v1.36.0")) },
			`^stage 1, render configs: the image has Kubernetes "v1.36.0" and cluster.yaml of this test wants "v1.37.2": change one of them\nwork folder: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := options(t)
			tt.change(t, &opts)
			_, err := wholepath.Run(t.Context(), opts)
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Errorf("got error %v, want a match of %s", err, tt.want)
			}
		})
	}
}

func TestRunExplainsADeadServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	opts := options(t)
	state, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	opts.StateDir = state

	_, err = wholepath.Run(t.Context(), opts)
	var explained *wholepath.Error
	if !errors.As(err, &explained) {
		t.Fatalf("got error %v, want a wholepath.Error", err)
	}
	want := `^stage 3, serve: waiting for the server to answer: the server ended \(exit status 1\)$`
	if got := explained.Err.Error(); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("got error %q, want a match of %s", got, want)
	}
	want = `(?s)^work folder: ` + regexp.QuoteMeta(opts.Dir) + `
.*render configs.*
server log ` + regexp.QuoteMeta(filepath.Join(opts.Dir, "serve.log")) + ` ends:
    k8snode: error: listening on 10.77.0.1:8080: address already in use
$`
	if !regexp.MustCompile(want).MatchString(explained.Where) {
		t.Errorf("got explanation\n%s\nwant a match of\n%s", explained.Where, want)
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("state folder holds %v after a failure (%v), want nothing", left, err)
	}
}
