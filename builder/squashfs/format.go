package squashfs

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Block sizes in bytes. The format allows powers of two in this range.
const (
	DefaultBlockSize = 256 << 10
	minBlockSize     = 4 << 10
	maxBlockSize     = 1 << 20
)

const (
	// padding of the whole file system, in bytes: a device of 4096-byte blocks
	// holds it, and the hash tree begins behind it.
	padding        = 4096
	superblockSize = 96

	magic          = 0x73717368
	versionMajor   = 4
	compressorZstd = 6

	flagDuplicates = 1 << 6 // files with equal data share it
	flagExport     = 1 << 7 // there is an export table
	flagNoXattrs   = 1 << 9

	// uncompressed is the bit of a size word that says that a block of data is
	// stored as it is. The word zero is a block of zeros that is not stored.
	uncompressed = 1 << 24

	// none is the absent fragment or list of extended attributes, noTable the
	// absent table.
	none    = 0xffff_ffff
	noTable = 0xffff_ffff_ffff_ffff
)

// Limits of the kernel that are narrower than those of the format.
const (
	maxName   = 255  // NAME_MAX; the format has room for 256
	maxTarget = 4095 // PATH_MAX without the final NUL
	maxIDs    = 0xffff
)

var le = binary.LittleEndian //nolint:gochecknoglobals // a short name

// superblock is the first 96 bytes; positions are in bytes from the start of
// the file system.
type superblock struct {
	inodes         uint32
	epoch          uint32
	blockSize      uint32
	fragments      uint32
	flags          uint16
	ids            uint16
	root           inodeRef
	used           uint64
	idTable        uint64
	xattrTable     uint64
	inodeTable     uint64
	directoryTable uint64
	fragmentTable  uint64
	exportTable    uint64
}

func (s superblock) encode() []byte {
	b := make([]byte, 0, superblockSize)
	b = le.AppendUint32(b, magic)
	b = le.AppendUint32(b, s.inodes)
	b = le.AppendUint32(b, s.epoch)
	b = le.AppendUint32(b, s.blockSize)
	b = le.AppendUint32(b, s.fragments)
	b = le.AppendUint16(b, compressorZstd)
	b = le.AppendUint16(b, uint16(bits.Len32(s.blockSize)-1))
	b = le.AppendUint16(b, s.flags)
	b = le.AppendUint16(b, s.ids)
	b = le.AppendUint16(b, versionMajor)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, uint64(s.root))
	b = le.AppendUint64(b, s.used)
	b = le.AppendUint64(b, s.idTable)
	b = le.AppendUint64(b, s.xattrTable)
	b = le.AppendUint64(b, s.inodeTable)
	b = le.AppendUint64(b, s.directoryTable)
	b = le.AppendUint64(b, s.fragmentTable)
	return le.AppendUint64(b, s.exportTable)
}

func checkBlockSize(n int) error {
	if n < minBlockSize || n > maxBlockSize || n&(n-1) != 0 {
		return fmt.Errorf("block size %d is not a power of two from %d to %d", n, minBlockSize, maxBlockSize)
	}
	return nil
}
