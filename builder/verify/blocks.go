package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/images"
)

// maxBlock bounds what a damaged map makes us allocate.
const maxBlock = 64 << 20

// checkBlockMap checks the map itself: its blocks are in order and cover the
// compressed file without a gap.
func (v *verifier) checkBlockMap(m images.BlockMap) bool {
	const artifact = images.BlockMapFile
	good := true
	fail := func(format string, args ...any) {
		good = false
		v.add(artifact, copyAgain, format, args...)
	}
	if m.Version != 1 || m.Size != v.m.Disk.Size || max(m.SectorSize, 512) != v.m.Disk.SectorSize {
		fail("it is version %d of a disk of %d bytes with sectors of %d, and the disk has %d and %d",
			m.Version, m.Size, m.SectorSize, v.m.Disk.Size, v.m.Disk.SectorSize)
	}
	var end, stored int64
	for i, b := range m.Blocks {
		if b.Offset < end || b.Length <= 0 || b.Length > maxBlock || b.Offset+b.Length > m.Size {
			fail("block %d has %d bytes at %d, behind %d of %d", i, b.Length, b.Offset, end, m.Size)
			break
		}
		if b.StoredOffset != stored || b.StoredLength <= 0 || b.StoredLength > 2*maxBlock {
			fail("block %d is stored in %d bytes at %d and should be at %d", i, b.StoredLength, b.StoredOffset, stored)
			break
		}
		end, stored = b.Offset+b.Length, b.StoredOffset+b.StoredLength
	}
	if len(m.Blocks) == 0 || m.Blocks[0].Offset != 0 {
		fail("it has no block at 0, which holds the partition table")
	}
	if st, err := os.Stat(v.file(images.DiskFile)); err == nil && good && st.Size() != stored {
		fail("its blocks are %d bytes of %s, which has %d", stored, images.DiskFile, st.Size())
	}
	return good
}

// unpacker reads blocks of the compressed disk.
type unpacker struct {
	stored *os.File
	zstd   *zstd.Decoder
}

func (v *verifier) newUnpacker() (*unpacker, error) {
	f, err := v.open(v.file(images.DiskFile))
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(v.o.Jobs), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, err
	}
	v.opened = append(v.opened, decoder{d})
	return &unpacker{f, d}, nil
}

// decoder closes what has no error to return.
type decoder struct{ d *zstd.Decoder }

func (d decoder) Close() error { d.d.Close(); return nil }

// buffers are one worker's.
type buffers struct{ stored, raw, other []byte }

// block returns the bytes of a block, which are those of its digest.
func (u *unpacker) block(b images.Block, buf *buffers) ([]byte, error) {
	raw, err := u.read(b, buf)
	if err != nil {
		return nil, fmt.Errorf("the block at %d is damaged: %w", b.Offset, err)
	}
	return raw, nil
}

func (u *unpacker) read(b images.Block, buf *buffers) ([]byte, error) {
	buf.stored = slices.Grow(buf.stored[:0], int(b.StoredLength))[:b.StoredLength]
	if _, err := u.stored.ReadAt(buf.stored, b.StoredOffset); err != nil {
		return nil, err
	}
	raw, err := u.zstd.DecodeAll(buf.stored, slices.Grow(buf.raw[:0], int(b.Length)))
	if err != nil {
		return nil, err
	}
	buf.raw = raw
	if int64(len(raw)) != b.Length {
		return nil, fmt.Errorf("it has %d bytes, and the map says %d", len(raw), b.Length)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, errors.New("its SHA-256 is not the map's")
	}
	return raw, nil
}

// blockStride is how many blocks one task checks.
const blockStride = 16

// compareBlocks checks every block, and that together they are the raw image.
func (v *verifier) compareBlocks(raw string) error {
	f, err := v.open(raw)
	if err != nil {
		return err
	}
	return v.eachBlocks(func(u *unpacker, m images.BlockMap) {
		for part := range slices.Chunk(m.Blocks, blockStride) {
			v.later("blocks", images.DiskFile, func() error {
				var buf buffers
				for _, b := range part {
					if err := v.ctx.Err(); err != nil {
						return err
					}
					if err := u.compare(f, b, &buf); err != nil {
						return err
					}
				}
				return nil
			})
		}
		v.later("blocks", images.BlockMapFile, func() error { return checkGaps(v.ctx, f, m) })
	})
}

func (u *unpacker) compare(f *os.File, b images.Block, buf *buffers) error {
	got, err := u.block(b, buf)
	if err != nil {
		return err
	}
	buf.other = slices.Grow(buf.other[:0], len(got))[:len(got)]
	if n, err := f.ReadAt(buf.other, b.Offset); err != nil && (!errors.Is(err, io.EOF) || n < len(got)) {
		return err
	}
	if !bytes.Equal(got, buf.other) {
		return fmt.Errorf("the block at %d is not what %s has there", b.Offset, images.RawFile)
	}
	return nil
}

// checkGaps looks for data of the raw image that no block has.
func checkGaps(ctx context.Context, f *os.File, m images.BlockMap) error {
	var end int64
	for _, b := range append(slices.Clone(m.Blocks), images.Block{Offset: m.Size}) {
		if at, err := firstNonZero(ctx, f, end, b.Offset); err != nil {
			return err
		} else if at >= 0 {
			return fmt.Errorf("no block has the byte at %d of %s, which is not zero", at, images.RawFile)
		}
		end = b.Offset + b.Length
	}
	return nil
}

// unpackBlocks writes the raw image that the blocks make.
func (v *verifier) unpackBlocks(dst string) error {
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(v.m.Disk.Size); err != nil {
		return err
	}
	return v.eachBlocks(func(u *unpacker, m images.BlockMap) {
		var buf buffers
		for _, b := range m.Blocks {
			v.now("blocks", images.DiskFile, func() error {
				raw, err := u.block(b, &buf)
				if err != nil {
					return err
				}
				_, err = out.WriteAt(raw, b.Offset)
				return err
			})
		}
	})
}

// eachBlocks hands a good map on; a bad one is a finding.
func (v *verifier) eachBlocks(use func(*unpacker, images.BlockMap)) error {
	m, err := v.readBlockMap()
	if err != nil {
		v.add(images.BlockMapFile, copyAgain, "it cannot be read: %v", err)
		return nil
	}
	v.report.Blocks = len(m.Blocks)
	if !v.checkBlockMap(m) {
		return nil
	}
	u, err := v.newUnpacker()
	if err != nil {
		return err
	}
	use(u, m)
	return nil
}
