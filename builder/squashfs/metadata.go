package squashfs

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// metadataBlock is how much of a table is compressed at once; the header of
// each such block is its stored size, with a bit for "stored as it is".
const (
	metadataBlock        = 8192
	metadataUncompressed = 1 << 15
)

// An inodeRef is a place in a table of metadata: the position of a stored
// block from the start of the table, and behind the lower 16 bits the offset
// in the block when it is unpacked.
type inodeRef uint64

func (r inodeRef) block() uint32  { return uint32(r >> 16) }
func (r inodeRef) offset() uint16 { return uint16(r) }

// metadata gathers one table.
type metadata struct {
	enc    *zstd.Encoder
	stored []byte
	starts []uint64 // of the stored blocks
	open   []byte   // of the block that is being filled; shorter than a block
	size   int      // of the table when it is unpacked
}

// at returns where the next byte goes.
func (m *metadata) at() inodeRef {
	return inodeRef(len(m.stored))<<16 | inodeRef(len(m.open))
}

func (m *metadata) write(b []byte) {
	m.size += len(b)
	for len(b) > 0 {
		n := min(len(b), metadataBlock-len(m.open))
		m.open = append(m.open, b[:n]...)
		b = b[n:]
		if len(m.open) == metadataBlock {
			m.flush()
		}
	}
}

func (m *metadata) flush() {
	if len(m.open) == 0 {
		return
	}
	m.starts = append(m.starts, uint64(len(m.stored)))
	b := m.enc.EncodeAll(m.open, nil)
	word := uint16(len(b))
	if len(b) >= len(m.open) {
		b, word = m.open, uint16(len(m.open))|metadataUncompressed
	}
	m.stored = le.AppendUint16(m.stored, word)
	m.stored = append(m.stored, b...)
	m.open = m.open[:0]
}

// table packs b and puts the list of its blocks behind it, as it is in the
// file system at position base. It also returns the position of the list.
func table(enc *zstd.Encoder, b []byte, base uint64) (stored []byte, list uint64) {
	m := metadata{enc: enc}
	m.write(b)
	m.flush()
	stored, list = m.stored, base+uint64(len(m.stored))
	for _, start := range m.starts {
		stored = le.AppendUint64(stored, base+start)
	}
	return stored, list
}

// newEncoder returns the encoder for blocks of at most size bytes. The kernel
// has a window of the block size, and checks no checksums.
func newEncoder(level, jobs, size int) (*zstd.Encoder, error) {
	speed := zstd.SpeedDefault
	if level > 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(speed),
		zstd.WithEncoderConcurrency(jobs),
		zstd.WithWindowSize(size),
		zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true),
	)
	if err != nil {
		return nil, fmt.Errorf("internal error: zstd level %d: %w", level, err)
	}
	return enc, nil
}
