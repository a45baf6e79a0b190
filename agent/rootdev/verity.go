package rootdev

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/k8snode/k8snode/agent/cmdline"
)

const (
	blockSize  = cmdline.BlockSize
	digestSize = 32
	// maxSalt is the room for a salt in the superblock.
	maxSalt = 256
)

// A Superblock is what the tree's superblock says beyond the command line.
type Superblock struct {
	// Salt is at most 256 bytes.
	Salt []byte
}

// ReadSuperblock reads the dm-verity superblock behind a file system and
// checks that it is the one that v describes: format 1, SHA-256, blocks of
// 4096 bytes. Its layout is struct verity_sb of cryptsetup's lib/verity.
func ReadSuperblock(r io.ReaderAt, v cmdline.Verity) (Superblock, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, v.HashOffset); err != nil {
		return Superblock{}, fmt.Errorf("reading the verity superblock: %w", err)
	}
	le := binary.LittleEndian
	algorithm, _, _ := bytes.Cut(b[32:64], []byte{0})
	salt := int(le.Uint16(b[80:]))
	switch {
	case !bytes.Equal(b[:8], []byte("verity\x00\x00")):
		return Superblock{}, fmt.Errorf("there is no verity superblock at %d", v.HashOffset)
	case le.Uint32(b[8:]) != 1 || le.Uint32(b[12:]) != 1:
		return Superblock{}, errors.New("the verity superblock has an unknown version or type")
	case string(algorithm) != "sha256" || le.Uint32(b[64:]) != blockSize || le.Uint32(b[68:]) != blockSize:
		return Superblock{}, fmt.Errorf("the hash tree is not of SHA-256 over blocks of %d bytes", blockSize)
	case le.Uint64(b[72:]) != uint64(v.HashOffset/blockSize):
		return Superblock{}, fmt.Errorf("the hash tree is of %d blocks, the kernel command line promises %d",
			le.Uint64(b[72:]), v.HashOffset/blockSize)
	case salt > maxSalt:
		return Superblock{}, fmt.Errorf("the verity superblock has a salt of %d bytes", salt)
	}
	return Superblock{Salt: b[88 : 88+salt]}, nil
}

// TotalSize returns the size of a file system with its superblock and hash
// tree, in bytes.
func TotalSize(v cmdline.Verity) int64 {
	total := v.HashOffset + blockSize
	const fanout = blockSize / digestSize
	for blocks := v.HashOffset / blockSize; blocks > 1; {
		blocks = (blocks + fanout - 1) / fanout
		total += blocks * blockSize
	}
	return total
}

// Table returns the device mapper's table of the checked device, in the words
// of the kernel's admin-guide/device-mapper/verity.rst. The top of the tree
// follows the superblock's block.
func Table(device string, v cmdline.Verity, sb Superblock) string {
	salt := "-"
	if len(sb.Salt) > 0 {
		salt = hex.EncodeToString(sb.Salt)
	}
	return fmt.Sprintf("0 %d verity 1 %s %s %d %d %d %d sha256 %s %s",
		v.HashOffset/512, device, device, blockSize, blockSize,
		v.HashOffset/blockSize, v.HashOffset/blockSize+1, v.RootHash, salt)
}

// metadata returns the range of a squashfs that holds inodes, directories and
// the tables that are read when it is mounted; they follow the data. The
// layout is struct squashfs_super_block of the kernel's squashfs_fs.h.
func metadata(r io.ReaderAt, size int64) (start, end int64, err error) {
	b := make([]byte, 96)
	if _, err := r.ReadAt(b, 0); err != nil {
		return 0, 0, err
	}
	if string(b[:4]) != "hsqs" {
		return 0, 0, errors.New("it is not a squashfs")
	}
	end = int64(binary.LittleEndian.Uint64(b[40:]))
	start = int64(binary.LittleEndian.Uint64(b[64:]))
	if start < int64(len(b)) || start > end || end > size {
		return 0, 0, errors.New("its superblock is out of range")
	}
	return start, end, nil
}
