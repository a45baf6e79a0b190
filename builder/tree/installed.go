package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// Installed describes entries for a manifest, sorted by path. It reads all their
// content, of which that of programs and container archives is large: who knows
// their digests already describes them without this function.
func Installed(entries []Entry) ([]images.InstalledFile, error) {
	all := make([]images.InstalledFile, 0, len(entries))
	for _, e := range entries {
		f := images.InstalledFile{Path: "/" + e.Path, UID: e.UID, GID: e.GID}
		switch e.Kind {
		case Symlink:
			f.Symlink = e.Target
		case Dir:
			f.Directory, f.Mode = true, uint32(tarMode(e.Mode))
		case File:
			f.Mode = uint32(tarMode(e.Mode))
			var err error
			if f.SHA256, err = e.sum(); err != nil {
				return nil, fmt.Errorf("reading /%s: %w", e.Path, err)
			}
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b images.InstalledFile) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

func (e Entry) sum() (string, error) {
	h := sha256.New()
	if e.Open == nil {
		h.Write(e.Content)
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	r, err := e.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
