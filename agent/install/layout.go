package install

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
)

const (
	mib = 1 << 20
	gib = 1 << 30

	// headSize is what is written last: boot code, table header and the first
	// entries; on a disk with large sectors the protective MBR alone, without
	// which nothing believes the table. It is one page, so no disk is left with
	// half of it.
	headSize = 4096
	// eraseSize is zeroed at both ends first.
	eraseSize = mib
	// maxBlock bounds what one block needs in memory, raw or stored.
	maxBlock = 64 * mib
	// maxBlockMap bounds the block map, about 200 bytes for each block.
	maxBlockMap = 64 * mib
)

// A Range is a part of the disk, in bytes.
type Range struct{ Offset, Length int64 }

// A Layout is what will be done to the disk, in order: Zero, then the blocks.
type Layout struct {
	// Zero are the two ends of the disk and the gaps of the image, in which
	// the image has zeros: free space of a file system that an earlier owner
	// of the disk has filled would not be free.
	Zero []Range
	// Total is the number of bytes in blocks.
	Total int64
	// Disk is the size of the disk.
	Disk int64
}

// ParseBlockMap reads a block map and checks everything that the writer relies
// on: bounds, order, and that one block holds the whole primary table. The
// sector size of the result is never zero.
func ParseBlockMap(data []byte) (images.BlockMap, error) {
	var m images.BlockMap
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("reading block map: %w", err)
	}
	if m.SectorSize == 0 {
		m.SectorSize = disk.SectorSize
	}
	if err := checkBlockMap(m); err != nil {
		return m, fmt.Errorf("reading block map: %w", err)
	}
	return m, nil
}

func checkBlockMap(m images.BlockMap) error {
	if m.Version != 1 {
		return fmt.Errorf("version %d is not supported, want 1", m.Version)
	}
	if m.SectorSize != disk.SectorSize && m.SectorSize != disk.LargeSector {
		return fmt.Errorf("sector size %d is not supported, want %d or %d", m.SectorSize, disk.SectorSize, disk.LargeSector)
	}
	sector := int64(m.SectorSize)
	if m.Size <= 0 || m.Size%sector != 0 {
		return fmt.Errorf("size %d is not a multiple of %d", m.Size, sector)
	}
	if len(m.Blocks) == 0 || m.Blocks[0].Offset != 0 || m.Blocks[0].Length < disk.GPTSize(m.SectorSize) {
		return errors.New("the block at offset 0 does not hold the partition table")
	}
	end := int64(0)
	for i, b := range m.Blocks {
		switch sum, err := hex.DecodeString(b.SHA256); {
		case b.Offset < end:
			return fmt.Errorf("block %d: offset %d is before the end of the previous block", i, b.Offset)
		case b.Offset%sector != 0 || b.Length%sector != 0:
			return fmt.Errorf("block %d: offset and length are not multiples of %d", i, sector)
		case b.Length <= 0 || b.Length > maxBlock || b.Length > m.Size-b.Offset:
			return fmt.Errorf("block %d: length %d is out of range", i, b.Length)
		case b.StoredLength <= 0 || b.StoredLength > maxBlock || b.StoredOffset < 0 || b.StoredOffset > 1<<53:
			return fmt.Errorf("block %d: stored range is out of range", i)
		case err != nil || len(sum) != 32:
			return fmt.Errorf("block %d: sha256 is malformed", i)
		}
		end = b.Offset + b.Length
	}
	return nil
}

// CheckSectors says what to do when the image is for other sectors than the
// disk has: its partition table would not be found.
func CheckSectors(m images.BlockMap, d disk.Disk) error {
	if d.LogicalSector == m.SectorSize {
		return nil
	}
	return fmt.Errorf("%s has logical sectors of %d bytes, the image is for %d: "+
		"bake an image with spec.disk.sectorSize %d, or reformat the disk if it can (nvme format, sg_format)",
		d, d.LogicalSector, m.SectorSize, d.LogicalSector)
}

// NewLayout computes what to do to a disk of diskSize bytes, or says why the
// image does not fit.
func NewLayout(m images.BlockMap, diskSize int64) (Layout, error) {
	if diskSize < m.Size {
		return Layout{}, fmt.Errorf("the disk has %d bytes (%.1f GiB), the image needs %d (%.1f GiB)",
			diskSize, float64(diskSize)/gib, m.Size, float64(m.Size)/gib)
	}
	if diskSize < 2*eraseSize {
		return Layout{}, fmt.Errorf("the disk has %d bytes, less than two MiB", diskSize)
	}
	l := Layout{Disk: diskSize, Zero: []Range{
		{0, eraseSize},
		{diskSize - eraseSize, eraseSize},
	}}
	end := int64(0)
	for _, b := range m.Blocks {
		if b.Offset > end {
			l.Zero = append(l.Zero, Range{end, b.Offset - end})
		}
		end = b.Offset + b.Length
		l.Total += b.Length
	}
	if m.Size > end {
		l.Zero = append(l.Zero, Range{end, m.Size - end})
	}
	return l, nil
}

// A Span is a sequence of blocks whose stored bytes are neighbours: one request.
type Span struct {
	// Blocks are indices into the block map.
	Blocks []int
	// StoredOffset and StoredLength are of the compressed file.
	StoredOffset, StoredLength int64
}

// NextSpan returns the longest span that begins with the first block that is not
// done and has at most limit stored bytes (but at least one block). It reports
// false when every block is done.
func NextSpan(m images.BlockMap, done []bool, limit int64) (Span, bool) {
	var r Span
	for i, b := range m.Blocks {
		if done[i] {
			if len(r.Blocks) > 0 {
				break
			}
			continue
		}
		if len(r.Blocks) == 0 {
			r = Span{Blocks: []int{i}, StoredOffset: b.StoredOffset, StoredLength: b.StoredLength}
			continue
		}
		if b.StoredOffset != r.StoredOffset+r.StoredLength || r.StoredLength+b.StoredLength > limit {
			break
		}
		r.Blocks = append(r.Blocks, i)
		r.StoredLength += b.StoredLength
	}
	return r, len(r.Blocks) > 0
}
