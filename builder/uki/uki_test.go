package uki_test

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
)

// stub makes the smallest EFI program that has what matters: two sections and
// room for more headers.
func stub(t *testing.T, headers uint32) []byte {
	t.Helper()
	const sizeOfHeaders = 0x80 + 24 + 60
	b := verifytest.Stub(0)
	binary.LittleEndian.PutUint32(b[sizeOfHeaders:], headers)
	return b
}

func TestWrite(t *testing.T) {
	img := uki.Image{
		Stub: stub(t, 0x400), OSRelease: []byte("ID=debian\n"), Cmdline: "root=PARTUUID=1 ro", Uname: "7.3",
		Linux: []byte(strings.Repeat("kernel", 1000)), Initrd: []byte(strings.Repeat("initrd", 3000)),
	}
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := uki.Write(w, img); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("written twice, it differs")
	}

	// Read back with a reader of PE files that is not ours.
	f, err := pe.NewFile(bytes.NewReader(a.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".osrel": "ID=debian\n", ".cmdline": "root=PARTUUID=1 ro\x00", ".uname": "7.3\x00",
		".linux": string(img.Linux), ".initrd": string(img.Initrd),
	}
	var end uint32
	for _, s := range f.Sections {
		if s.VirtualAddress < end || s.VirtualAddress%0x1000 != 0 {
			t.Errorf("section %s is at %#x, the one before ends at %#x", s.Name, s.VirtualAddress, end)
		}
		end = s.VirtualAddress + s.VirtualSize
		if content, ok := want[s.Name]; ok {
			data, err := s.Data()
			if err != nil || string(data[:s.VirtualSize]) != content {
				t.Errorf("section %s: got %d bytes, %v", s.Name, s.VirtualSize, err)
			}
			delete(want, s.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if size := f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage; size < end || size%0x1000 != 0 {
		t.Errorf("SizeOfImage is %#x, the last section ends at %#x", size, end)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		stub []byte
		err  string
	}{
		{"empty", nil, "not a usable EFI stub: no MZ header"},
		{"text", []byte(strings.Repeat("x", 100)), "not a usable EFI stub: no MZ header"},
		{"no PE", append([]byte("MZ"), make([]byte, 200)...), "not a usable EFI stub: no PE header"},
		{"no room", stub(t, 0x200), "not a usable EFI stub: no room for 5 more section headers"},
	} {
		err := uki.Write(new(bytes.Buffer), uki.Image{Stub: tc.stub})
		if !errors.Is(err, uki.ErrStub) || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		if err := uki.Write(&out, uki.Image{Stub: b, Linux: []byte("k")}); err != nil && !errors.Is(err, uki.ErrStub) {
			t.Fatal(err)
		}
	})
}

func TestSections(t *testing.T) {
	img := uki.Image{
		Stub: stub(t, 0x400), Cmdline: "ro", Uname: "7.3",
		Linux: []byte(strings.Repeat("kernel", 1000)), Initrd: []byte(strings.Repeat("initrd", 3000)),
	}
	var b bytes.Buffer
	if err := uki.Write(&b, img); err != nil {
		t.Fatal(err)
	}
	sections, err := uki.Sections(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		uki.SectionLinux: img.Linux, uki.SectionInitrd: img.Initrd, uki.SectionCmdline: []byte("ro\x00"),
	} {
		s := sections[name]
		if got := b.Bytes()[s.Offset:][:s.Size]; !bytes.Equal(got, want) {
			t.Errorf("section %s: %d bytes at %d are not what was written", name, s.Size, s.Offset)
		}
		// GRUB reads them by whole sectors.
		end := s.Offset + s.Size
		if rest := b.Bytes()[end:min((end+511)/512*512, int64(b.Len()))]; s.Offset%512 != 0 || len(bytes.Trim(rest, "\x00")) > 0 {
			t.Errorf("section %s at %d is not alone in its sectors", name, s.Offset)
		}
	}

	// A stub may have a section with a name that an image adds.
	twice := b.Bytes()
	i := bytes.Index(twice, []byte(".uname\x00\x00"))
	copy(twice[i:], ".linux\x00\x00")
	const want = "reading the EFI program: two sections are named .linux"
	if _, err := uki.Sections(bytes.NewReader(twice)); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := uki.Sections(strings.NewReader("no program")); err == nil {
		t.Error("no error for a text")
	}
}
