package rootdev_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/rootdev"
)

const (
	block = cmdline.BlockSize
	hash  = "5b3177c226495f3fc863588fa39321dbfe1f58e8a911ab50211dcca995f60133"
)

// superblock is one that veritysetup makes for blocks of data.
func superblock(blocks int64, salt string) []byte {
	b := make([]byte, block)
	copy(b, "verity\x00\x00")
	le := binary.LittleEndian
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], 1)
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], block)
	le.PutUint32(b[68:], block)
	le.PutUint64(b[72:], uint64(blocks))
	le.PutUint16(b[80:], uint16(len(salt)))
	copy(b[88:], salt)
	return b
}

// squashfs is four blocks of data whose metadata are in the last.
func squashfs() []byte {
	b := bytes.Repeat([]byte{0x11}, 4*block)
	copy(b, "hsqs")
	binary.LittleEndian.PutUint64(b[40:], 3*block+100)
	binary.LittleEndian.PutUint64(b[64:], 3*block)
	return b
}

// image is a squashfs with a superblock and one block of hashes.
func image() []byte {
	b := append(squashfs(), superblock(4, "salt")...)
	return append(b, bytes.Repeat([]byte{0x22}, block)...)
}

func verity(blocks int64) cmdline.Verity {
	return cmdline.Verity{RootHash: hash, HashOffset: blocks * block}
}

// The sizes that veritysetup 2.6.1 made.
func TestTotalSize(t *testing.T) {
	for _, tt := range []struct{ blocks, want int64 }{
		{1, 2 * block},
		{2, 4 * block},
		{128, 130 * block},
		{129, (129 + 1 + 2 + 1) * block},
		{105575, 435851264},
	} {
		if got := rootdev.TotalSize(verity(tt.blocks)); got != tt.want {
			t.Errorf("%d blocks: got %d, want %d", tt.blocks, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	got := rootdev.Table("/dev/loop0", verity(105575), rootdev.Superblock{Salt: []byte{0, 7}})
	want := "0 844600 verity 1 /dev/loop0 /dev/loop0 4096 4096 105575 105576 sha256 " + hash + " 0007"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := rootdev.Table("/dev/x", verity(8), rootdev.Superblock{}); !strings.HasSuffix(got, hash+" -") {
		t.Errorf("without a salt: %s", got)
	}
}

func TestReadSuperblock(t *testing.T) {
	sb, err := rootdev.ReadSuperblock(bytes.NewReader(image()), verity(4))
	if err != nil || string(sb.Salt) != "salt" {
		t.Fatalf("got %q, %v", sb.Salt, err)
	}
	const at = 4 * block
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"cut", func(b []byte) []byte { return b[:at+100] }, "reading the verity superblock: EOF"},
		{"magic", func(b []byte) []byte { b[at] = 'V'; return b }, "there is no verity superblock at 16384"},
		{"version", func(b []byte) []byte { b[at+8] = 2; return b }, "the verity superblock has an unknown version or type"},
		{"type", func(b []byte) []byte { b[at+12] = 0; return b }, "the verity superblock has an unknown version or type"},
		{"algorithm", func(b []byte) []byte { copy(b[at+32:], "sha512"); return b }, "the hash tree is not of SHA-256 over blocks of 4096 bytes"},
		{"block size", func(b []byte) []byte { b[at+69] = 2; return b }, "the hash tree is not of SHA-256 over blocks of 4096 bytes"},
		{"blocks", func(b []byte) []byte { b[at+72] = 5; return b }, "the hash tree is of 5 blocks, the kernel command line promises 4"},
		{"salt", func(b []byte) []byte { b[at+81] = 2; return b }, "the verity superblock has a salt of 516 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rootdev.ReadSuperblock(bytes.NewReader(tt.change(image())), verity(4))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzReadSuperblock(f *testing.F) {
	f.Add(superblock(1, "salt"))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		sb, err := rootdev.ReadSuperblock(bytes.NewReader(append(make([]byte, block), data...)), verity(1))
		if err == nil && len(sb.Salt) > 256 {
			t.Errorf("a salt of %d bytes", len(sb.Salt))
		}
	})
}
