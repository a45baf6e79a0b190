package verity_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/k8snode/k8snode/builder/verity"
	"github.com/k8snode/k8snode/images"
)

var options = verity.Options{
	Salt: sha256.Sum256([]byte("salt")),
	UUID: uuid.MustParse("2f6f1b9e-6d39-4a26-9f1c-0c4ad6e9a3a1"),
}

// sparse makes a file of a size with a mark in every megabyte.
func sparse(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; at += 1 << 20 {
		if _, err := f.WriteAt(fmt.Appendf(nil, "mark %d", at), at); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Sizes that need one, two and three levels, at their borders.
var sizes = []int64{
	1 * verity.BlockSize,
	128 * verity.BlockSize,
	129 * verity.BlockSize,
	128 * 128 * verity.BlockSize,
	(128*128 + 1) * verity.BlockSize,
}

// The real veritysetup makes the same bytes and accepts ours.
func TestVeritysetup(t *testing.T) {
	if _, err := exec.LookPath("veritysetup"); err != nil {
		t.Skip("no veritysetup: scripts/host-packages.sh test installs it")
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := sparse(t, size)
			info, err := verity.Append(t.Context(), f, size, options)
			if err != nil {
				t.Fatal(err)
			}
			offset := fmt.Sprintf("--hash-offset=%d", size)
			out, err := exec.CommandContext(t.Context(), "veritysetup", "verify", f.Name(), f.Name(), info.RootHash, offset).CombinedOutput()
			if err != nil {
				t.Errorf("veritysetup verify: %v\n%s", err, out)
			}
			theirs := sparse(t, size)
			out, err = exec.CommandContext(t.Context(), "veritysetup", "format", theirs.Name(), theirs.Name(), offset,
				"--salt="+info.Salt, "--uuid="+options.UUID.String()).CombinedOutput()
			if err != nil {
				t.Fatalf("veritysetup format: %v\n%s", err, out)
			}
			a, b := read(t, f.Name()), read(t, theirs.Name())
			if string(a) != string(b) {
				t.Errorf("%d bytes of ours differ from %d of veritysetup", len(a), len(b))
			}
			if int64(len(a)) != info.Total {
				t.Errorf("the file has %d bytes, Total says %d", len(a), info.Total)
			}
			// The failing twin: one flipped bit of the data.
			if _, err := f.WriteAt([]byte{a[size/2] ^ 1}, size/2); err != nil {
				t.Fatal(err)
			}
			if exec.CommandContext(t.Context(), "veritysetup", "verify", f.Name(), f.Name(), info.RootHash, offset).Run() == nil {
				t.Error("veritysetup accepts a flipped bit")
			}
		})
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The digest of a single block is the root hash: computed here from the
// definition.
func TestAppendOneBlock(t *testing.T) {
	f := sparse(t, verity.BlockSize)
	if _, err := f.WriteAt(make([]byte, verity.BlockSize), 0); err != nil {
		t.Fatal(err)
	}
	info, err := verity.Append(t.Context(), f, verity.BlockSize, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	top := sha256.Sum256(make([]byte, 32+verity.BlockSize))
	want := images.RootInfo{
		Size: verity.BlockSize, Total: 2 * verity.BlockSize,
		RootHash: fmt.Sprintf("%x", top), Salt: fmt.Sprintf("%064x", 0),
	}
	if info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
}

func TestAppendErrors(t *testing.T) {
	f := sparse(t, 2*verity.BlockSize)
	for size, want := range map[int64]string{
		0:                    "making the hash tree: 0 bytes are not a multiple of 4096",
		100:                  "making the hash tree: 100 bytes are not a multiple of 4096",
		3 * verity.BlockSize: "making the hash tree: reading 12288 bytes at 0: EOF",
	} {
		if _, err := verity.Append(t.Context(), f, size, options); err == nil || err.Error() != want {
			t.Errorf("%d: got %v, want %s", size, err, want)
		}
	}
}
