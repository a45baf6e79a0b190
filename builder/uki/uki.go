package uki

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Image holds the parts of a unified kernel image.
type Image struct {
	// Stub is systemd-stub's EFI program (linuxx64.efi.stub).
	Stub []byte
	// OSRelease is the content of /usr/lib/os-release.
	OSRelease []byte
	// Cmdline is the kernel command line, without a newline.
	Cmdline string
	// Uname is the kernel's release.
	Uname  string
	Linux  []byte
	Initrd []byte
}

// ErrStub says that the stub is not an EFI program to which sections can be
// added.
var ErrStub = errors.New("not a usable EFI stub")

// Offsets in a PE file, from the PE/COFF specification.
const (
	peOffsetField      = 0x3c
	coffHeaderSize     = 24 // "PE\0\0" and the COFF header
	sectionHeaderSize  = 40
	optNumberOffset    = 32 // SectionAlignment, FileAlignment follow
	optSizeOfImage     = 56
	optSizeOfHeaders   = 60
	optMagicPE32Plus   = 0x20b
	scnInitializedData = 0x00000040
	scnMemRead         = 0x40000000
)

type section struct {
	name string
	data []byte
}

// Write writes the image to w.
func Write(w io.Writer, img Image) error {
	sections := []section{
		{SectionOSRelease, img.OSRelease},
		{SectionCmdline, append([]byte(img.Cmdline), 0)},
		{SectionUname, append([]byte(img.Uname), 0)},
		{SectionInitrd, img.Initrd},
		// The kernel comes last: a stub that loads it in place may need room
		// behind it.
		{SectionLinux, img.Linux},
	}
	stub := append([]byte(nil), img.Stub...)
	if len(stub) < 0x40 || string(stub[:2]) != "MZ" {
		return fmt.Errorf("%w: no MZ header", ErrStub)
	}
	pe := int(binary.LittleEndian.Uint32(stub[peOffsetField:]))
	if pe+coffHeaderSize+112 > len(stub) || string(stub[pe:pe+4]) != "PE\x00\x00" {
		return fmt.Errorf("%w: no PE header", ErrStub)
	}
	count := int(binary.LittleEndian.Uint16(stub[pe+6:]))
	optSize := int(binary.LittleEndian.Uint16(stub[pe+20:]))
	opt := pe + coffHeaderSize
	if binary.LittleEndian.Uint16(stub[opt:]) != optMagicPE32Plus {
		return fmt.Errorf("%w: not a 64-bit program", ErrStub)
	}
	sectionAlign := int(binary.LittleEndian.Uint32(stub[opt+optNumberOffset:]))
	fileAlign := int(binary.LittleEndian.Uint32(stub[opt+optNumberOffset+4:]))
	headers := int(binary.LittleEndian.Uint32(stub[opt+optSizeOfHeaders:]))
	table := opt + optSize
	if sectionAlign <= 0 || fileAlign <= 0 || count == 0 || headers > len(stub) {
		return fmt.Errorf("%w: impossible header", ErrStub)
	}
	if table+(count+len(sections))*sectionHeaderSize > headers {
		return fmt.Errorf("%w: no room for %d more section headers", ErrStub, len(sections))
	}

	var next int // first free virtual address
	for i := range count {
		h := stub[table+i*sectionHeaderSize:]
		end := int(binary.LittleEndian.Uint32(h[12:])) + int(binary.LittleEndian.Uint32(h[8:]))
		next = max(next, end)
	}
	next = align(next, sectionAlign)
	offset := align(len(stub), fileAlign)
	for i, s := range sections {
		h := stub[table+(count+i)*sectionHeaderSize:][:sectionHeaderSize]
		clear(h)
		copy(h, s.name)
		binary.LittleEndian.PutUint32(h[8:], uint32(len(s.data)))
		binary.LittleEndian.PutUint32(h[12:], uint32(next))
		binary.LittleEndian.PutUint32(h[16:], uint32(align(len(s.data), fileAlign)))
		binary.LittleEndian.PutUint32(h[20:], uint32(offset))
		binary.LittleEndian.PutUint32(h[36:], scnInitializedData|scnMemRead)
		next = align(next+len(s.data), sectionAlign)
		offset += align(len(s.data), fileAlign)
	}
	binary.LittleEndian.PutUint16(stub[pe+6:], uint16(count+len(sections)))
	binary.LittleEndian.PutUint32(stub[opt+optSizeOfImage:], uint32(next))

	if err := writePadded(w, stub, fileAlign); err != nil {
		return err
	}
	for _, s := range sections {
		if err := writePadded(w, s.data, fileAlign); err != nil {
			return fmt.Errorf("writing section %s: %w", s.name, err)
		}
	}
	return nil
}

func writePadded(w io.Writer, b []byte, to int) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, align(len(b), to)-len(b)))
	return err
}

func align(n, to int) int { return (n + to - 1) / to * to }
