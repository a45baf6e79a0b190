// Package golden compares the output of a test with a file that is reviewed
// like code.
//
// Call [Check] with the path below testdata and the output. Run the tests of a
// package with -update to write the files anew; the run still fails, so that
// an update is never mistaken for a pass. Then read the diff.
//
// This package is for tests only.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// Updating reports whether golden files are to be written, for tests that keep
// them in another form. Their run must fail while it is.
func Updating() bool { return *update }

// Check fails the test unless got is the content of the file at path.
func Check(t *testing.T, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err == nil && bytes.Equal(want, got) {
		return
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatalf("updating a golden file: %v", err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatalf("updating a golden file: %v", err)
		}
		t.Errorf("%s was written anew: review it and run without -update", path)
		return
	}
	if err != nil {
		t.Fatalf("reading a golden file: %v (write it with -update)", err)
	}
	t.Errorf("output differs from %s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
}
