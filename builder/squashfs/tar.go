package squashfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/tree"
)

// paxXattr is what GNU tar, libarchive and others put before the name of an
// extended attribute.
const paxXattr = "SCHILY.xattr."

// FromTar lists the entries of an uncompressed archive of size bytes that the
// filter keeps; nil keeps everything. It reads only headers: the content of
// files stays in the archive, and r must stay open until the layer is packed.
//
// Of two entries of one path the later counts, as when the archive is
// unpacked. A kept hard link to a dropped file becomes the file. The root
// itself is left out. Timestamps, names of users and attributes of the prefix
// system. are not read: the last are access control lists, which squashfs does
// not have, and which systemd-tmpfiles sets where Debian's packages want them.
func FromTar(r io.ReaderAt, size int64, keep tree.Filter) ([]Entry, error) {
	files, err := scan(r, size)
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	var entries []Entry
	first := map[*Entry]string{} // the path that an inode is listed with
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if keep != nil && !keep(p) {
			continue
		}
		e := *files[p]
		e.Path = p
		if e.Kind != Directory {
			if target, ok := first[files[p]]; ok {
				e = Entry{Path: p, Kind: HardLink, Target: target}
			} else {
				first[files[p]] = p
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// scan returns the inodes of an archive by path. Hard links share one.
func scan(r io.ReaderAt, size int64) (map[string]*Entry, error) {
	files := map[string]*Entry{}
	section := io.NewSectionReader(r, 0, size)
	in := tar.NewReader(section)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		p := tree.Clean(h.Name)
		if p == "" || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			target, ok := files[tree.Clean(h.Linkname)]
			if !ok || target.Kind == Directory {
				return nil, fmt.Errorf("/%s: it is a hard link to /%s, which does not come before it", p, tree.Clean(h.Linkname))
			}
			files[p] = target
			continue
		}
		// The reader has read exactly the header.
		at, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		e, err := fromHeader(h)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", p, err)
		}
		if e.Kind == File {
			e.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(r, at, e.Size)), nil
			}
		}
		files[p] = e
	}
}

func fromHeader(h *tar.Header) (*Entry, error) {
	if h.Uid < 0 || h.Uid > 0xffff_ffff || h.Gid < 0 || h.Gid > 0xffff_ffff {
		return nil, fmt.Errorf("owner %d:%d is more than 32 bits", h.Uid, h.Gid)
	}
	e := &Entry{
		Mode: uint16(h.Mode & 0o7777), UID: uint32(h.Uid), GID: uint32(h.Gid),
		Xattrs: map[string]string{},
	}
	for key, value := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return nil, errors.New("it is stored as a sparse file: make the archive without --sparse")
		}
		if name, ok := strings.CutPrefix(key, paxXattr); ok && !strings.HasPrefix(name, "system.") {
			e.Xattrs[name] = value
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Kind = Directory
	case tar.TypeReg:
		e.Kind, e.Size = File, h.Size
	case tar.TypeSymlink:
		e.Kind, e.Target, e.Mode = Symlink, h.Linkname, 0o777
	case tar.TypeBlock, tar.TypeChar:
		e.Kind = BlockDevice
		if h.Typeflag == tar.TypeChar {
			e.Kind = CharDevice
		}
		if h.Devmajor < 0 || h.Devmajor > 0xffff_ffff || h.Devminor < 0 || h.Devminor > 0xffff_ffff {
			return nil, fmt.Errorf("device %d:%d is not possible", h.Devmajor, h.Devminor)
		}
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	case tar.TypeFifo:
		e.Kind = FIFO
	default:
		return nil, fmt.Errorf("entries of type %q cannot be packed", h.Typeflag)
	}
	return e, nil
}
