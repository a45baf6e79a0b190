package builder_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
)

func TestLockOutput(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "deep", "node")
	release, err := builder.LockOutput(out + "/")
	if err != nil {
		t.Fatal(err)
	}
	_, err = builder.LockOutput(out)
	want := fmt.Sprintf("another bake (process %d) writes %s now, it holds %s; wait for it, or name another folder with --out",
		os.Getpid(), out, filepath.Join(dir, "deep", ".node.lock"))
	if !errors.As(err, new(*builder.OutputBusyError)) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	// Another output is another matter.
	other, err := builder.LockOutput(filepath.Join(dir, "deep", "node-1"))
	if err != nil {
		t.Fatal(err)
	}
	other()
	release()
	if left, _ := os.ReadDir(filepath.Join(dir, "deep")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if release, err = builder.LockOutput(out); err != nil {
		t.Fatal(err)
	}
	release()
}

// A lock whose process has died is only a file.
func TestLockOutputDead(t *testing.T) {
	out := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(filepath.Join(filepath.Dir(out), ".node.lock"), []byte("123456789\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	release, err := builder.LockOutput(out)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := builder.LockOutput(out); !strings.Contains(text(err), fmt.Sprintf("(process %d)", os.Getpid())) {
		t.Errorf("error %v", err)
	}
}

// What an interrupted bake left is cleared up, and nothing else.
func TestLockOutputTidies(t *testing.T) {
	for _, tc := range []struct {
		name       string
		have, want []string
	}{
		{
			"half an output", []string{".node-123/disk.raw", "node/manifest.json"}, []string{"node/manifest.json"},
		}, {
			"the former one beside the new one", []string{".node-123.old/old", "node/new"}, []string{"node/new"},
		}, {
			"the former one moved away", []string{".node-123.old/old", ".node-123/new"}, []string{"node/old"},
		}, {
			"of others", []string{".node-1-123/x", ".node-x/x", ".other-1/x", "node-1/x", ".node-12file"},
			[]string{".node-1-123/x", ".node-12file", ".node-x/x", ".other-1/x", "node-1/x"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range tc.have {
				path := filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			release, err := builder.LockOutput(filepath.Join(dir, "node"))
			if err != nil {
				t.Fatal(err)
			}
			release()
			var got []string
			err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					got = append(got, strings.TrimPrefix(path, dir+"/"))
				}
				return err
			})
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestLockOutputImpossible(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := builder.LockOutput(filepath.Join(file, "node"))
	if want := "locking the output: mkdir " + file + ": not a directory"; text(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A program that a killed bake was starting has the lock for a moment longer.
func TestLockOutputOrphan(t *testing.T) {
	out := filepath.Join(t.TempDir(), "node")
	orphan, err := os.Create(filepath.Join(filepath.Dir(out), ".node.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orphan.WriteString("123456789\n"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(orphan.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ends := time.AfterFunc(300*time.Millisecond, func() { orphan.Close() })
	defer ends.Stop()
	release, err := builder.LockOutput(out)
	if err != nil {
		t.Fatal(err)
	}
	release()
}
