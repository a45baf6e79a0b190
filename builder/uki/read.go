package uki

import (
	"debug/pe"
	"fmt"
	"io"
)

// Names of the sections that [Write] adds.
const (
	SectionOSRelease = ".osrel"
	SectionCmdline   = ".cmdline"
	SectionUname     = ".uname"
	SectionInitrd    = ".initrd"
	SectionLinux     = ".linux"
)

// A Section is a range of the image's file, in bytes. Zeros follow it up to
// the next section.
type Section struct{ Offset, Size int64 }

// Sections returns the sections of an image by their names.
func Sections(r io.ReaderAt) (map[string]Section, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("reading the EFI program: %w", err)
	}
	defer f.Close() //nolint:errcheck // what was read needs no good end
	all := map[string]Section{}
	for _, s := range f.Sections {
		if _, ok := all[s.Name]; ok {
			return nil, fmt.Errorf("reading the EFI program: two sections are named %s", s.Name)
		}
		// The file's size is padded, and that in memory may be larger than
		// what the file holds.
		all[s.Name] = Section{int64(s.Offset), int64(min(s.VirtualSize, s.Size))}
	}
	return all, nil
}
