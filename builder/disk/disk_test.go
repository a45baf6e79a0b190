package disk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/images"
)

var spec = images.Disk{ESPMiB: 128, RootMiB: 8}

func write(t *testing.T, id string) (disk.Layout, string) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1767225600")
	dir := t.TempDir()
	boot, root, raw := filepath.Join(dir, "boot"), filepath.Join(dir, "root"), filepath.Join(dir, "raw")
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	for name, b := range map[string][]byte{boot: content, root: content[:3_000_000]} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := disk.NewLayout(spec, id, 3_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(raw, disk.Content{Boot: boot, Root: root}); err != nil {
		t.Fatal(err)
	}
	return l, raw
}

func TestWrite(t *testing.T) {
	l, raw := write(t, "image-1")
	got, err := disk.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.Info, got); diff != "" {
		t.Error(diff)
	}
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	root := l.Partition(images.LabelRoot)
	if want := bytes.Repeat([]byte("0123456789abcdef"), 200_000)[:3_000_000]; !bytes.Equal(b[root.Start:root.Start+3_000_000], want) {
		t.Error("the root partition holds something else")
	}
	seed := l.Partition(images.LabelSeed)
	if strings.Trim(string(b[seed.Start:seed.Start+seed.Size]), "\x00") != "" {
		t.Error("the seed partition is not empty")
	}
	checkFAT(t, raw, l)

	_, again := write(t, "image-1")
	if b2, err := os.ReadFile(again); err != nil || !bytes.Equal(b, b2) {
		t.Error("written twice, it differs")
	}
	other, _ := write(t, "image-2")
	if other.Info.GUID == l.Info.GUID {
		t.Error("two images share a disk GUID")
	}
}

// checkFAT asks fsck.fat, which did not write it.
func checkFAT(t *testing.T, raw string, l disk.Layout) {
	t.Helper()
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	esp := l.Partition(images.LabelESP)
	img := filepath.Join(t.TempDir(), "esp")
	if err := os.WriteFile(img, b[esp.Start:esp.Start+esp.Size], 0o644); err != nil {
		t.Fatal(err)
	}
	tool, err := exec.LookPath("fsck.fat")
	if err != nil {
		t.Skip("fsck.fat is not installed: scripts/host-packages.sh bake installs it, and make test runs that")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "-n", img).CombinedOutput(); err != nil {
		t.Errorf("fsck.fat: %v\n%s", err, out)
	}
}

func TestLayoutTooSmall(t *testing.T) {
	_, err := disk.NewLayout(spec, "x", 9<<20)
	const want = "laying out the disk: the root has 9 MiB and spec.disk.rootMiB allows 8: raise it"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestGUID(t *testing.T) {
	if got, want := disk.GUID("id", "disk"), disk.GUID("id", "disk"); got != want {
		t.Errorf("%s, then %s", got, want)
	}
	if disk.GUID("id", "disk") == disk.GUID("id", "esp") {
		t.Error("two parts of an image share a GUID")
	}
	if g := disk.GUID("id", "disk"); g[14] != '5' || strings.ToUpper(g) != g {
		t.Errorf("%s is not a UUIDv5 in upper case", g)
	}
}

func TestCompress(t *testing.T) {
	_, raw := write(t, "image-1")
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
}
