package verify

import (
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// checkEFI checks that a file is an EFI program for this architecture.
func checkEFI(name string) error {
	f, err := pe.Open(name)
	if err != nil {
		return fmt.Errorf("it is no EFI program: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 || h.Subsystem != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION {
		return errors.New("it is no EFI program for x86-64")
	}
	return nil
}

// Fields of the setup header of a Linux kernel, from the kernel's
// Documentation/arch/x86/boot.rst.
const (
	setupMagicAt   = 0x202
	setupVersionAt = 0x20e
	setupSectors   = 0x200
)

// kernelRelease returns the release that a kernel says it has.
func kernelRelease(r io.ReaderAt) (string, error) {
	b := make([]byte, 0x210)
	if _, err := r.ReadAt(b, 0); err != nil {
		return "", fmt.Errorf("reading the kernel's header: %w", err)
	}
	if string(b[setupMagicAt:setupMagicAt+4]) != "HdrS" {
		return "", errors.New("reading the kernel's header: it is no Linux kernel")
	}
	text := make([]byte, 256)
	at := int64(binary.LittleEndian.Uint16(b[setupVersionAt:])) + setupSectors
	if n, err := r.ReadAt(text, at); err != nil && n == 0 {
		return "", fmt.Errorf("reading the kernel's release: %w", err)
	}
	line, _, ok := strings.Cut(string(text), "\x00")
	release, _, _ := strings.Cut(line, " ")
	if !ok || release == "" {
		return "", errors.New("reading the kernel's release: there is none")
	}
	return release, nil
}
