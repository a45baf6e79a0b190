package e2e_test

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBootVerb starts the network boot's files with "k8snode boot", waits for
// the login prompt on its output, and interrupts it.
func TestBootVerb(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test-boot passes them")
	}
	const config = `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/hostname", "overwrite": true, "contents": {"source": "data:,verb"}}]}}`
	dir := t.TempDir()
	file := filepath.Join(dir, "config.ign")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	before := modified(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, *k8snode, "boot", *image, "--from", "pxe", "--ignition", file)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stderr = os.Stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Not up to the end of the prompt: a match reads a little beyond itself.
	if !regexp.MustCompile(`verb login`).MatchReader(bufio.NewReader(console)) {
		t.Errorf("the console ended without a login prompt: %v", cmd.Wait())
		return
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// Reading on lets the emulator write its last words.
	rest := bufio.NewScanner(console)
	for rest.Scan() {
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was interrupted and says that all is well")
	}
	if diff := cmp.Diff(before, modified(t)); diff != "" {
		t.Errorf("the image has changed (-before +after):\n%s", diff)
	}
	left, err := filepath.Glob(filepath.Join(dir, "k8snode-boot-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("it left %q behind", left)
	}
}

// modified says when each file of the image was last written.
func modified(t *testing.T) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	err := filepath.WalkDir(*image, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		times[path] = info.ModTime()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return times
}
