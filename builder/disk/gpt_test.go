package disk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/builder/disk"
)

func TestCheckRefuses(t *testing.T) {
	_, raw := write(t, spec512, "image-1", nil)
	good, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	end := len(good)
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		err    string
	}{
		{"primary header", func(b []byte) []byte { b[512+60] ^= 1; return b },
			"checking the partition table: primary header: its checksum is 4c7447b6 and should be bdae421c"},
		{"primary entry", func(b []byte) []byte { b[1024+200] ^= 1; return b },
			"checking the partition table: primary header: the checksum of the entries is ae9bdfc9 and should be 1fdc41ff"},
		{"backup header", func(b []byte) []byte { b[end-512+60] ^= 1; return b },
			"checking the partition table: backup header: its checksum is 7d5219f6 and should be 8c881c5c"},
		{"backup entry", func(b []byte) []byte { b[end-33*512+200] ^= 1; return b },
			"checking the partition table: backup header: the checksum of the entries is ae9bdfc9 and should be 1fdc41ff"},
		{"both headers", func(b []byte) []byte { b[512+60] ^= 1; b[end-1-511] = 0; return b },
			"checking the partition table: primary header: its checksum is 4c7447b6 and should be bdae421c\nbackup header: sector 155647 is no header"},
		{"no signature", func(b []byte) []byte { b[510] = 0; return b },
			"checking the partition table: the first sector has no signature"},
		{"not protected", func(b []byte) []byte { b[450] = 0x83; return b },
			"checking the partition table: the first sector has no protective partition"},
		{"longer", func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) },
			"checking the partition table: backup header: sector 157695 is no header"},
		{"no table", func(b []byte) []byte { clear(b[512:1024]); return b },
			"checking the partition table: there is no primary GPT header"},
		{"two tables", func(b []byte) []byte {
			// The header of another disk of that size at the end.
			_, other := write(t, spec512, "image-2", nil)
			b2, err := os.ReadFile(other)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[end-33*512:], b2[end-33*512:])
			return b
		}, "checking the partition table: the headers differ\nthe entries of the headers differ"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "raw")
			if err := os.WriteFile(name, tc.change(bytes.Clone(good)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := disk.Check(name); err == nil || err.Error() != tc.err {
				t.Errorf("error %v\nwant %s", err, tc.err)
			}
		})
	}
}

func FuzzReadGPT(f *testing.F) {
	f.Add([]byte("EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = disk.ReadGPT(bytes.NewReader(append(make([]byte, 512), b...)))
	})
}
