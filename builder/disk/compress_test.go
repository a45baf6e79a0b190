package disk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/disk"
)

func TestCompress(t *testing.T) {
	_, raw := write(t, spec512, "image-1", bios())
	zst := filepath.Join(t.TempDir(), "zst")
	m, err := disk.Compress(t.Context(), raw, zst)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(raw)
	stored, _ := os.ReadFile(zst)
	got := make([]byte, m.Size)
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, b := range m.Blocks {
		frame, err := dec.DecodeAll(stored[b.StoredOffset:b.StoredOffset+b.StoredLength], nil)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(frame); hex.EncodeToString(sum[:]) != b.SHA256 || int64(len(frame)) != b.Length {
			t.Errorf("block at %d does not match its digest", b.Offset)
		}
		copy(got[b.Offset:], frame)
	}
	if !bytes.Equal(got, want) {
		t.Error("the blocks are not the image")
	}
	if m.Blocks[0].Offset != 0 || len(m.Blocks) >= int(m.Size/disk.BlockSize) {
		t.Errorf("%d blocks of %d, the first at %d", len(m.Blocks), m.Size/disk.BlockSize, m.Blocks[0].Offset)
	}
	// The frames, one after the other, are a plain zstd file as well.
	if whole, err := dec.DecodeAll(stored, nil); err != nil || len(whole) == 0 {
		t.Errorf("decoding the file as a whole: %d bytes, %v", len(whole), err)
	}

	// A file without holes and one worker give the same.
	dense := filepath.Join(t.TempDir(), "dense")
	if err := os.WriteFile(dense, want, 0o644); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	m2, err := disk.Compress(t.Context(), dense, zst)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, m2); diff != "" {
		t.Error(diff)
	}
	if again, err := os.ReadFile(zst); err != nil || !bytes.Equal(again, stored) {
		t.Error("compressed twice, it differs")
	}
}

func TestCompressMissing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none")
	if _, err := disk.Compress(t.Context(), name, name+".zst"); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}
