package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/k8snode/k8snode/provision/audit"
)

// On a full disk nothing is recorded, and nothing by half: the log goes on where it
// was when there is room again, in the same server and in the next one.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path, filler := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := audit.Append(f)
	if err != nil {
		t.Fatal(err)
	}
	l := audit.New(file, fixedClock, audit.Tail{})
	event := audit.Event{Node: "a", Action: "config", Result: "granted", Detail: strings.Repeat("x", 900)}
	if err := l.Record(event); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler, make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	recorded := int64(1)
	for {
		if err = l.Record(event); err != nil {
			break
		}
		recorded++
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	tail := func() audit.Tail {
		t.Helper()
		log, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		tail, err := audit.Verify(log)
		if err != nil {
			t.Fatal(err)
		}
		return tail
	}
	if got := tail(); got.Seq != recorded || got != l.Tail() {
		t.Errorf("the file ends with entry %d, the log with %d, and %d were recorded", got.Seq, l.Tail().Seq, recorded)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(event); err != nil || tail().Seq != recorded+1 {
		t.Errorf("with room again: %v, %+v", err, tail())
	}
}
