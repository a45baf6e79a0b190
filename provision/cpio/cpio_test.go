package cpio_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/provision/cpio"
)

func TestArchive(t *testing.T) {
	files := []cpio.File{
		{Path: "/etc/k8snode/seed.json", Mode: 0o600, Data: []byte("{}\n")},
		{Path: "/etc/hostname", Mode: 0o644, Data: []byte("node\n")},
	}
	b, err := cpio.Archive(files...)
	if err != nil {
		t.Fatal(err)
	}
	if len(b)%512 != 0 {
		t.Errorf("%d bytes are not a multiple of 512", len(b))
	}
	const begins = "07070100000001000041ED00000000000000000000000200000000000000000000000000000000000000000000000000000004000000000" // header of etc
	if !bytes.HasPrefix(b, []byte(begins[:104])) {
		t.Errorf("archive begins with %.110q", b)
	}
	i := bytes.Index(b, []byte("TRAILER!!!\x00"))
	if i < 0 || len(bytes.Trim(b[i+len("TRAILER!!!"):], "\x00")) != 0 {
		t.Error("archive does not end with a trailer and zeros")
	}
	for off := 0; ; off++ {
		j := bytes.Index(b[off:], []byte("070701"))
		if j < 0 {
			break
		}
		off += j
		if off%4 != 0 {
			t.Errorf("header at %d is not aligned", off)
		}
	}
	again, err := cpio.Archive(files...)
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("the same files gave other bytes (%v)", err)
	}
}

func TestArchiveRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []cpio.File
		want  string
	}{
		{"relative", []cpio.File{{Path: "etc/x"}}, `archiving "etc/x": not a clean absolute path of a file`},
		{"leaves the root", []cpio.File{{Path: "/../x"}}, `archiving "/../x": not a clean absolute path of a file`},
		{"the root", []cpio.File{{Path: "/"}}, `archiving "/": not a clean absolute path of a file`},
		{"NUL", []cpio.File{{Path: "/a\x00b"}}, `archiving "/a\x00b": not a clean absolute path of a file`},
		{"trailer", []cpio.File{{Path: "/TRAILER!!!"}}, `archiving "/TRAILER!!!": the name ends an archive`},
		{"twice", []cpio.File{{Path: "/a"}, {Path: "/a"}}, `archiving "/a": the path is there twice`},
		{"file in a file", []cpio.File{{Path: "/a"}, {Path: "/a/b"}}, `archiving "/a/b": "/a" is a file`},
		{"file over a folder", []cpio.File{{Path: "/a/b"}, {Path: "/a"}}, `archiving "/a": the path is there twice`},
		{"symlink", []cpio.File{{Path: "/a", Mode: fs.ModeSymlink}}, `archiving "/a": mode L--------- is more than permission bits`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := cpio.Archive(tt.files...); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// The system's own reader agrees.
func TestArchiveAgainstCpio(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	data := strings.Repeat("x", 4097)
	b, err := cpio.Archive(
		cpio.File{Path: "/etc/k8snode/seed.json", Mode: 0o600, Data: []byte(data)},
		cpio.File{Path: "/etc/empty", Mode: 0o644},
	)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = t.TempDir()
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("cpio %v: %v", args, err)
		}
		return out
	}
	var got strings.Builder
	for line := range strings.Lines(string(run("-itv", "--numeric-uid-gid", "--quiet"))) {
		f := strings.Fields(line)
		fmt.Fprintln(&got, f[0], f[2], f[3], f[4], f[len(f)-1])
	}
	const want = `drwxr-xr-x 0 0 0 etc
drwxr-xr-x 0 0 0 etc/k8snode
-rw------- 0 0 4097 etc/k8snode/seed.json
-rw-r--r-- 0 0 0 etc/empty
`
	if got.String() != want {
		t.Errorf("cpio lists\n%swant\n%s", got.String(), want)
	}
	if out := run("-i", "--to-stdout", "--quiet", filepath.Join("etc", "k8snode", "seed.json")); string(out) != data {
		t.Errorf("cpio reads %d bytes, want the %d that were written", len(out), len(data))
	}
}

func ExampleArchive() {
	b, err := cpio.Archive(cpio.File{Path: "/etc/hostname", Mode: 0o644, Data: []byte("node-1\n")})
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := sha256.Sum256(b)
	fmt.Println(len(b), hex.EncodeToString(sum[:8]))
	// Output: 512 1faadef7953b6493
}
