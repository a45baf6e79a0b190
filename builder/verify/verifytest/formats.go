package verifytest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// kernel is a file with a kernel's header, which is all that is read of it.
func kernel(release string) []byte {
	b := []byte(Noise(20_000))
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x1000)
	copy(b[0x1200:], release+" (somebody@somewhere) #1 SMP\x00")
	return b
}

// Archive is an initramfs of an archive without compression and a compressed
// one, which has the files.
func Archive(files map[string]string) ([]byte, error) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // EncodeAll leaves nothing to flush
	early := append(CPIO(map[string]string{"early": "x"}), make([]byte, 512)...)
	return w.EncodeAll(CPIO(files), early), nil
}

// CPIO is an archive in the format "newc".
func CPIO(files map[string]string) []byte {
	var b bytes.Buffer
	add := func(name, body string) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(body)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(name, files[name])
	}
	add("TRAILER!!!", "")
	return b.Bytes()
}

// Stub is the smallest EFI program.
func Stub(subsystem uint16) []byte {
	const peAt, optSize = 0x80, 240
	b := make([]byte, 0x800)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	le.PutUint16(b[peAt+4:], 0x8664)
	le.PutUint16(b[peAt+6:], 2)
	le.PutUint16(b[peAt+20:], optSize)
	opt := b[peAt+24:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], 0x200)
	le.PutUint32(opt[56:], 0x3000)
	le.PutUint32(opt[60:], 0x400)
	le.PutUint16(opt[68:], subsystem)
	le.PutUint32(opt[108:], 16)
	for i, name := range []string{".text", ".sbat"} {
		h := b[peAt+24+optSize+i*40:]
		copy(h, name)
		le.PutUint32(h[8:], 0x150)
		le.PutUint32(h[12:], uint32(0x1000*(i+1)))
		le.PutUint32(h[16:], 0x200)
		le.PutUint32(h[20:], uint32(0x400+0x200*i))
	}
	return b
}

// grub returns images with no code but the fields that matter.
func grub() (mbr, core []byte) {
	mbr = bytes.Repeat([]byte{'m'}, 512)
	copy(mbr[0x66:], "\xeb\x05")
	copy(mbr[510:], "\x55\xaa")
	core = bytes.Repeat([]byte{'c'}, 50_000)
	copy(core[0x1f4:], "\x02\x00\x00\x00\x00\x00\x00\x00")
	binary.LittleEndian.PutUint16(core[0x1fc:], uint16((len(core)+511)/512-1))
	copy(core[0x1fe:], "\x20\x08")
	return mbr, core
}
