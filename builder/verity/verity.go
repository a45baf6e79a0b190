package verity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/images"
)

// BlockSize of data and hashes in bytes.
const BlockSize = 4096

const (
	digestSize = sha256.Size
	perBlock   = BlockSize / digestSize
	// stride is what one worker reads at a time: a multiple of the data that
	// one block of hashes covers.
	stride = 16 * perBlock * BlockSize
)

// Options of a tree.
type Options struct {
	// Salt goes before every block that is hashed.
	Salt [digestSize]byte
	// UUID of the superblock.
	UUID uuid.UUID
}

// Append hashes the first size bytes of f, a multiple of [BlockSize], and
// writes the superblock and the tree behind them.
func Append(ctx context.Context, f *os.File, size int64, o Options) (images.RootInfo, error) {
	if size <= 0 || size%BlockSize != 0 {
		return images.RootInfo{}, fmt.Errorf("making the hash tree: %d bytes are not a multiple of %d", size, BlockSize)
	}
	leaves, err := hashData(ctx, f, size, o.Salt)
	if err != nil {
		return images.RootInfo{}, fmt.Errorf("making the hash tree: %w", err)
	}
	// The levels from the lowest up; the highest has one block. A single block
	// of data needs none: its digest is the root hash.
	var levels [][]byte
	root := leaves[:digestSize]
	for level, digests := leaves, size/BlockSize; digests > 1; digests = (digests + perBlock - 1) / perBlock {
		levels = append(levels, level)
		level = hashLevel(level, o.Salt)
		root = level[:digestSize]
	}

	at := size
	write := func(b []byte) {
		if err == nil {
			_, err = f.WriteAt(b, at)
			at += int64(len(b))
		}
	}
	write(superblock(size, o))
	for i := len(levels) - 1; i >= 0; i-- {
		write(levels[i])
	}
	if err != nil {
		return images.RootInfo{}, fmt.Errorf("writing the hash tree: %w", err)
	}
	return images.RootInfo{
		Size: size, Total: at,
		RootHash: hex.EncodeToString(root), Salt: hex.EncodeToString(o.Salt[:]),
	}, nil
}

// hashData returns the lowest level.
func hashData(ctx context.Context, f *os.File, size int64, salt [digestSize]byte) ([]byte, error) {
	out := make([]byte, roundUp(size/BlockSize*digestSize))
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for at := int64(0); at < size && running.Err() == nil; at += stride {
		g.Go(func() error {
			data := make([]byte, min(stride, size-at))
			if _, err := f.ReadAt(data, at); err != nil {
				return fmt.Errorf("reading %d bytes at %d: %w", len(data), at, err)
			}
			hashBlocks(out[at/BlockSize*digestSize:], data, salt)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, ctx.Err()
}

func hashLevel(below []byte, salt [digestSize]byte) []byte {
	out := make([]byte, roundUp(int64(len(below)/BlockSize*digestSize)))
	hashBlocks(out, below, salt)
	return out
}

// hashBlocks writes the digest of every block of data to out.
func hashBlocks(out, data []byte, salt [digestSize]byte) {
	h := sha256.New()
	for i := 0; i < len(data); i += BlockSize {
		h.Reset()
		h.Write(salt[:])
		h.Write(data[i : i+BlockSize])
		h.Sum(out[:i/BlockSize*digestSize])
	}
}

func roundUp(n int64) int64 { return (n + BlockSize - 1) / BlockSize * BlockSize }

// superblock returns the first block behind the data (cryptsetup, struct
// verity_sb): version 1, hash type 1, which puts the salt in front.
func superblock(size int64, o Options) []byte {
	b := make([]byte, BlockSize)
	le := binary.LittleEndian
	copy(b, "verity")
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], 1)
	copy(b[16:], o.UUID[:])
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], BlockSize)
	le.PutUint32(b[68:], BlockSize)
	le.PutUint64(b[72:], uint64(size/BlockSize))
	le.PutUint16(b[80:], digestSize)
	copy(b[88:], o.Salt[:])
	return b
}
