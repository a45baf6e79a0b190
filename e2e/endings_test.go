package e2e_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBakeEndings ends bakes in the middle of the assembly: nothing of theirs
// appears, and the next bake clears away what a killed one could not.
func TestBakeEndings(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	t.Run("interrupted", func(t *testing.T) {
		dir := besideImage(t)
		stderr := endBake(t, dir, os.Interrupt)
		if !strings.Contains(stderr, "interrupted") {
			t.Errorf("it does not say why it ended:\n%s", stderr)
		}
		if diff := cmp.Diff([]string(nil), names(t, dir)); diff != "" {
			t.Errorf("left behind (-want +got):\n%s", diff)
		}
	})
	t.Run("killed", func(t *testing.T) {
		dir := besideImage(t)
		endBake(t, dir, os.Kill)
		if left := names(t, dir); len(left) == 0 {
			t.Fatal("a killed bake has left nothing: it ended before the test meant to end it")
		}
		// The next one has other troubles, after it has cleared up.
		bake := exec.CommandContext(t.Context(), *k8snode, "bake", "--recipe", *recipe, "--set", "spec.disk.rootMiB=64", "--out", filepath.Join(dir, "image"))
		out, err := bake.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "spec.disk.rootMiB") {
			t.Errorf("a root that does not fit: %v\n%s", err, out)
		}
		if diff := cmp.Diff([]string(nil), names(t, dir)); diff != "" {
			t.Errorf("left behind (-want +got):\n%s", diff)
		}
	})
	t.Run("disk full", func(t *testing.T) {
		dir := besideImage(t)
		if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=700M", "k8snode-test", dir).CombinedOutput(); err != nil {
			t.Skipf("mounting a small file system: %v: %s", err, out)
		}
		defer func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %s", out)
			}
		}()
		out, err := exec.CommandContext(t.Context(), *k8snode, "bake", "--recipe", *recipe,
			"--set", "spec.outputs=[raw]", "--out", filepath.Join(dir, "image")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no space left on device") {
			t.Errorf("a full disk: %v\n%s", err, out)
		}
		if diff := cmp.Diff([]string(nil), names(t, dir)); diff != "" {
			t.Errorf("left behind (-want +got):\n%s", diff)
		}
	})
}

// endBake sends a signal to a bake that has made the root and nothing else, and
// returns what it said.
func endBake(t *testing.T, dir string, signal os.Signal) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), *k8snode, "bake", "--recipe", *recipe, "--out", filepath.Join(dir, "image"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	sent := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if !sent && strings.Contains(lines.Text(), "msg=done step=root ") {
			sent = true
			if err := cmd.Process.Signal(signal); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("it was ended and says that all is well:\n%s", said.String())
	}
	if !sent {
		t.Fatalf("it never made the root:\n%s", said.String())
	}
	return said.String()
}

// besideImage returns a folder on the file system of the image: temporary
// folders may be in memory.
func besideImage(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(absolute(t, *image)), ".test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, syscall.EBUSY) {
			t.Error(err)
		}
	})
	return dir
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
