package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Constants of dm-verity's superblock and tree, from the kernel's
// Documentation/admin-guide/device-mapper/verity.rst and cryptsetup's
// lib/verity/verity.c.
const (
	verityBlock     = 4096
	verityPerBlock  = verityBlock / sha256.Size
	verityMaxLevels = 16
	verityMaxSalt   = 256
)

// veritySuper is the superblock that is behind the data.
type veritySuper struct {
	blocks int64
	salt   []byte
}

func readVeritySuper(r io.ReaderAt, offset int64) (veritySuper, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, offset); err != nil {
		return veritySuper{}, fmt.Errorf("reading the superblock at %d: %w", offset, err)
	}
	le := binary.LittleEndian
	if string(b[:8]) != "verity\x00\x00" {
		return veritySuper{}, fmt.Errorf("there is no superblock at %d", offset)
	}
	if v, h := le.Uint32(b[8:]), le.Uint32(b[12:]); v != 1 || h != 1 {
		return veritySuper{}, fmt.Errorf("the superblock has version %d and format %d, not 1 and 1", v, h)
	}
	if name := string(bytes.TrimRight(b[32:64], "\x00")); name != "sha256" {
		return veritySuper{}, fmt.Errorf("the superblock has algorithm %q, not sha256", name)
	}
	if d, h := le.Uint32(b[64:]), le.Uint32(b[68:]); d != verityBlock || h != verityBlock {
		return veritySuper{}, fmt.Errorf("the superblock has blocks of %d and %d bytes, not %d", d, h, verityBlock)
	}
	s := veritySuper{blocks: int64(le.Uint64(b[72:]))}
	n := le.Uint16(b[80:])
	if n > verityMaxSalt || s.blocks <= 1 || s.blocks > offset/verityBlock {
		return veritySuper{}, fmt.Errorf("the superblock has %d blocks and a salt of %d bytes, which is out of range", s.blocks, n)
	}
	s.salt = bytes.Clone(b[88 : 88+int(n)])
	return s, nil
}

// A verityTree checks data against its hash tree.
type verityTree struct {
	r      io.ReaderAt
	salt   []byte
	root   []byte
	blocks int64
	// levels are the offsets of the levels of the tree, that of the hashes of
	// the data first, with the number of blocks of each.
	levels []verityLevel
	end    int64
}

type verityLevel struct{ offset, blocks int64 }

// openVerity reads the superblock at offset and checks that the levels above
// the lowest lead to the root hash.
func openVerity(r io.ReaderAt, offset int64, rootHash string) (*verityTree, error) {
	super, err := readVeritySuper(r, offset)
	if err != nil {
		return nil, err
	}
	t := &verityTree{r: r, salt: super.salt, blocks: super.blocks}
	if t.root, err = hex.DecodeString(rootHash); err != nil || len(t.root) != sha256.Size {
		return nil, fmt.Errorf("the root hash %q is no SHA-256", rootHash)
	}
	for n := super.blocks; ; {
		n = (n + verityPerBlock - 1) / verityPerBlock
		t.levels = append(t.levels, verityLevel{blocks: n})
		if n == 1 {
			break
		}
		if len(t.levels) == verityMaxLevels {
			return nil, errors.New("the tree has too many levels")
		}
	}
	// The highest level comes first in the file.
	at := offset + verityBlock
	for i := len(t.levels) - 1; i >= 0; i-- {
		t.levels[i].offset = at
		at += t.levels[i].blocks * verityBlock
	}
	t.end = at
	return t, t.checkUpper()
}

func (t *verityTree) checkUpper() error {
	h, block, sum := sha256.New(), make([]byte, verityBlock), make([]byte, 0, sha256.Size)
	top := t.levels[len(t.levels)-1]
	if _, err := t.r.ReadAt(block, top.offset); err != nil {
		return fmt.Errorf("reading the tree: %w", err)
	}
	if got := t.hash(h, sum, block); !bytes.Equal(got, t.root) {
		return fmt.Errorf("the root hash is %x and should be %x", got, t.root)
	}
	for i := len(t.levels) - 1; i > 0; i-- {
		if err := t.check(h, t.levels[i], t.levels[i-1].offset, 0, t.levels[i-1].blocks); err != nil {
			return err
		}
	}
	return nil
}

// check compares the blocks from first to before last at offset with the hashes
// of a level.
func (t *verityTree) check(h hash.Hash, level verityLevel, offset, first, last int64) error {
	hashes, data, sum := make([]byte, verityBlock), make([]byte, verityPerBlock*verityBlock), make([]byte, 0, sha256.Size)
	for n := first; n < last; {
		if _, err := t.r.ReadAt(hashes, level.offset+n/verityPerBlock*verityBlock); err != nil {
			return fmt.Errorf("reading the tree: %w", err)
		}
		in := n % verityPerBlock
		count := min(verityPerBlock-in, last-n)
		part := data[:count*verityBlock]
		if _, err := t.r.ReadAt(part, offset+n*verityBlock); err != nil {
			return fmt.Errorf("reading block %d: %w", n, err)
		}
		for i := range count {
			want := hashes[(in+i)*sha256.Size:][:sha256.Size]
			if got := t.hash(h, sum, part[i*verityBlock:][:verityBlock]); !bytes.Equal(got, want) {
				return fmt.Errorf("the block at byte %d has another hash than the tree", offset+(n+i)*verityBlock)
			}
		}
		n += count
	}
	return nil
}

func (t *verityTree) hash(h hash.Hash, sum, block []byte) []byte {
	h.Reset()
	h.Write(t.salt)
	h.Write(block)
	return h.Sum(sum[:0])
}

// verityStride is how many blocks one worker checks at once: 64 MiB.
const verityStride = 128 * verityPerBlock

// checkData compares all data with the tree, part by part by run.
func (t *verityTree) checkData(ctx context.Context, run func(part func() error)) {
	for first := int64(0); first < t.blocks; first += verityStride {
		run(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return t.check(sha256.New(), t.levels[0], 0, first, min(first+verityStride, t.blocks))
		})
	}
}
