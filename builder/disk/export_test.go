package disk

import "io"

// ReadFAT returns the regular files of a FAT file system.
func ReadFAT(r io.ReaderAt) ([]File, error) {
	f, err := openFAT(r)
	if err != nil {
		return nil, err
	}
	return f.files()
}

// ReadGPT reads the header and the entries of a table.
func ReadGPT(r io.ReaderAt) error {
	h, err := readGPTHeader(r, gptFirstSector, DefaultSectorSize)
	if err != nil {
		return err
	}
	compareGPT(h, h, DefaultSectorSize)
	return nil
}
