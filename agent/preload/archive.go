package preload

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/agent/node"
)

// maxIndex bounds an index file; real ones have a few KiB.
const maxIndex = 4 << 20

// Annotations of an OCI index that name an image; containerd prefers the
// first.
const (
	annotationName    = "io.containerd.image.name"
	annotationRefName = "org.opencontainers.image.ref.name"
)

// Archives returns the archives below dir, node.ImagesDir, that a node of the
// role imports, in order. A folder that does not exist holds none.
func Archives(dir string, role node.Role) ([]string, error) {
	folders := []string{"all"}
	switch role {
	case node.ControlPlane:
		folders = append(folders, "controlPlane")
	case node.Worker:
	default:
		return nil, fmt.Errorf("role %q is unknown", role)
	}
	var archives []string
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries { // sorted by ReadDir
			if !e.IsDir() && path.Ext(e.Name()) == ".tar" {
				archives = append(archives, filepath.Join(dir, folder, e.Name()))
			}
		}
	}
	return archives, nil
}

// An Index is what an archive says of itself.
type Index struct {
	// References are the full names of the images, sorted.
	References []string
	// Digest is of the index files, which name all content by digest.
	Digest string
}

// ReadIndex reads manifest.json (the format of docker save) and index.json
// (an OCI layout) from a tar archive. It skips the layers.
func ReadIndex(r io.Reader) (Index, error) {
	hash := sha256.New()
	names := make(map[string]bool)
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Index{}, err
		}
		var read func([]byte) ([]string, error)
		switch path.Clean(header.Name) {
		case "manifest.json":
			read = dockerReferences
		case "index.json":
			read = ociReferences
		default:
			continue
		}
		if header.Size > maxIndex {
			return Index{}, fmt.Errorf("%s has %d bytes, more than %d", header.Name, header.Size, maxIndex)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return Index{}, err
		}
		fmt.Fprintf(hash, "%s %d\n", path.Clean(header.Name), len(data))
		hash.Write(data)
		found, err := read(data)
		if err != nil {
			return Index{}, fmt.Errorf("reading %s: %w", header.Name, err)
		}
		for _, name := range found {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return Index{}, errors.New("the archive names no image")
	}
	return Index{
		References: slices.Sorted(maps.Keys(names)),
		Digest:     hex.EncodeToString(hash.Sum(nil)),
	}, nil
}

func dockerReferences(data []byte) ([]string, error) {
	var manifests []struct{ RepoTags []string }
	if err := json.Unmarshal(data, &manifests); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range manifests {
		for _, tag := range m.RepoTags {
			names = append(names, fullName(tag))
		}
	}
	return names, nil
}

// ociReferences ignores a ref.name that is only a tag: ctr would make up the
// rest of the name.
func ociReferences(data []byte) ([]string, error) {
	var index struct {
		Manifests []struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range index.Manifests {
		if name := m.Annotations[annotationName]; name != "" {
			names = append(names, name)
		} else if name := m.Annotations[annotationRefName]; strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, nil
}

// fullName completes a tag as containerd does when it imports:
// "busybox" is docker.io/library/busybox:latest.
func fullName(tag string) string {
	domain, rest, found := strings.Cut(tag, "/")
	if !found || (!strings.ContainsAny(domain, ".:") && domain != "localhost") {
		if !found {
			tag = "library/" + tag
		}
		tag = "docker.io/" + tag
		_, rest, _ = strings.Cut(tag, "/")
	}
	if !strings.ContainsAny(rest, ":@") {
		tag += ":latest"
	}
	return tag
}
