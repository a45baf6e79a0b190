package source_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/builder/source"
)

// A hole counts as the zeros that it is.
func TestSumFileSparse(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int64
		data map[int64]string
	}{
		{"empty", 0, nil},
		{"no hole", 3, map[int64]string{0: "abc"}},
		{"a hole alone", 1<<20 + 7, nil},
		{"a hole first, in the middle and last", 5 << 20, map[int64]string{1<<20 + 5: "abc", 3 << 20: "def"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			want := make([]byte, tt.size)
			if err := f.Truncate(tt.size); err != nil {
				t.Fatal(err)
			}
			for at, text := range tt.data {
				copy(want[at:], text)
				if _, err := f.WriteAt([]byte(text), at); err != nil {
					t.Fatal(err)
				}
			}
			sum := sha256.Sum256(want)
			got, size, err := source.SumFile(name)
			if err != nil || size != tt.size || got != hex.EncodeToString(sum[:]) {
				t.Errorf("%s of %d bytes, %v", got, size, err)
			}
			var read bytes.Buffer
			if err := source.ReadSparse(f, func(b []byte) error { _, err := read.Write(b); return err }); err != nil || !bytes.Equal(read.Bytes(), want) {
				t.Errorf("read %d bytes, %v", read.Len(), err)
			}
		})
	}
}
