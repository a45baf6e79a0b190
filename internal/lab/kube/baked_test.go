package kube_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

const kubectlScript = "#!/bin/sh\necho baked\n"

// bakeImage makes the folder of an image whose disk holds a root with one
// program, at a partition that begins in the middle of a block.
func bakeImage(t *testing.T, program string) (string, images.Manifest) {
	t.Helper()
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("needs mksquashfs: run scripts/host-packages.sh bake")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "root", "usr", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, program), []byte(kubectlScript), 0o755); err != nil {
		t.Fatal(err)
	}
	squash := filepath.Join(dir, "squash")
	if out, err := exec.CommandContext(t.Context(), "mksquashfs", filepath.Join(dir, "root"), squash, "-quiet").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root, err := os.ReadFile(squash)
	if err != nil {
		t.Fatal(err)
	}
	const start, block = 1000, 1024
	disk := make([]byte, start+len(root)+3*block)
	copy(disk[start:], root)
	m := images.Manifest{Disk: images.DiskInfo{Size: int64(len(disk)), Partitions: []images.Partition{
		{Label: images.LabelESP, Start: 0, Size: start},
		{Label: images.LabelRoot, Start: start, Size: int64(len(root)) + 2*block},
	}}}

	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var stored []byte
	blocks := images.BlockMap{Version: 1, Size: int64(len(disk))}
	for offset := 0; offset < start+len(root); offset += block {
		raw := disk[offset : offset+block]
		sum := sha256.Sum256(raw)
		begin := len(stored)
		stored = encoder.EncodeAll(raw, stored)
		blocks.Blocks = append(blocks.Blocks, images.Block{
			Offset: int64(offset), Length: block, SHA256: hex.EncodeToString(sum[:]),
			StoredOffset: int64(begin), StoredLength: int64(len(stored) - begin),
		})
	}
	writeJSON(t, filepath.Join(dir, images.BlockMapFile), blocks)
	if err := os.WriteFile(filepath.Join(dir, images.DiskFile), stored, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBakedKubectl(t *testing.T) {
	image, manifest := bakeImage(t, "kubectl")
	dir := t.TempDir()
	path, err := kube.BakedKubectl(t.Context(), image, manifest, dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	if err != nil || string(out) != "baked\n" {
		t.Errorf("running it gives %q and error %v, want %q", out, err, "baked\n")
	}
	if _, err := os.Stat(filepath.Join(dir, "root.squashfs")); !os.IsNotExist(err) {
		t.Errorf("the root was left behind (%v)", err)
	}
}

func TestBakedKubectlRefuses(t *testing.T) {
	t.Run("no kubectl", func(t *testing.T) {
		image, manifest := bakeImage(t, "other")
		if path, err := kube.BakedKubectl(t.Context(), image, manifest, t.TempDir()); err == nil {
			t.Errorf("got %s, want an error", path)
		}
	})
	t.Run("no root", func(t *testing.T) {
		image, _ := bakeImage(t, "kubectl")
		want := "reading the root of image " + image + ": the manifest names no partition k8snode-root"
		if _, err := kube.BakedKubectl(t.Context(), image, images.Manifest{}, t.TempDir()); errorText(err) != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	})
	t.Run("changed block", func(t *testing.T) {
		image, manifest := bakeImage(t, "kubectl")
		var blocks images.BlockMap
		path := filepath.Join(image, images.BlockMapFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &blocks); err != nil {
			t.Fatal(err)
		}
		blocks.Blocks[1].SHA256 = blocks.Blocks[0].SHA256
		writeJSON(t, path, blocks)
		want := "reading the root of image " + image + ": the block at 1024 is not what the block map says"
		if _, err := kube.BakedKubectl(t.Context(), image, manifest, t.TempDir()); errorText(err) != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	})
}
