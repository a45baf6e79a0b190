package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// fixParent corrects the ".." entry of a folder of the FAT32 root. The format
// wants cluster 0 for "the root" there (Microsoft's FAT32 specification,
// section 6.5); go-diskfs v1.9.4 writes the root's own cluster, which fsck.fat
// calls invalid. Name is the folder's short name in upper case, start the
// partition's offset in the image.
func fixParent(image string, start int64, name string) error {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	bpb := make([]byte, 512)
	if _, err := f.ReadAt(bpb, start); err != nil {
		return err
	}
	le := binary.LittleEndian
	sector := int64(le.Uint16(bpb[11:]))
	perCluster := int64(bpb[13]) * sector
	data := start + (int64(le.Uint16(bpb[14:]))+int64(bpb[16])*int64(le.Uint32(bpb[36:])))*sector
	cluster := func(n uint32) int64 { return data + (int64(n)-2)*perCluster }

	dir := make([]byte, perCluster)
	if _, err := f.ReadAt(dir, cluster(le.Uint32(bpb[44:]))); err != nil {
		return err
	}
	want := fmt.Sprintf("%-11s", name)
	for e := dir; len(e) >= 32 && e[0] != 0; e = e[32:] {
		if string(e[:11]) != want {
			continue
		}
		at := cluster(uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:])))
		parent := make([]byte, 32)
		if _, err := f.ReadAt(parent, at+32); err != nil {
			return err
		}
		if parent[0] != '.' || parent[1] != '.' {
			return fmt.Errorf("folder %s has no entry for its parent", name)
		}
		le.PutUint16(parent[20:], 0)
		le.PutUint16(parent[26:], 0)
		if _, err := f.WriteAt(parent, at+32); err != nil {
			return err
		}
		return f.Close()
	}
	return fmt.Errorf("no folder %s: %w", name, io.ErrUnexpectedEOF)
}
