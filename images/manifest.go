package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/images/signature"
)

// ManifestKind identifies the manifest of a baked image.
const ManifestKind = "ImageManifest"

// MaxManifest bounds a manifest in bytes.
const MaxManifest = 16 << 20

// Names of the files in an output folder.
const (
	ManifestFile = "manifest.json"
	// SignatureFile is there when somebody signed the manifest: see package
	// signature.
	SignatureFile = ManifestFile + signature.Suffix
	SBOMFile      = "sbom.spdx.json"
	// SumsFile has the form of sha256sum(1) and names every other file, but the
	// signature.
	SumsFile     = "SHA256SUMS"
	RawFile      = "disk.raw"
	DiskFile     = "disk.raw.zst"
	BlockMapFile = "disk.blockmap.json"
	ISOFile      = "live.iso"
	KernelFile   = "pxe/vmlinuz"
	InitrdFile   = "pxe/initrd.img"
	RootFile     = "pxe/rootfs.squashfs"
	IPXEFile     = "pxe/ipxe.efi"
	// InstallerFile installs a machine that has no network boot.
	InstallerFile = "installer.iso"
)

// Labels of the GPT partitions of an installed disk. The first four are in
// the image, with the numbers 1 to 4; Ignition makes the others on first boot.
const (
	LabelBIOS       = "bios"
	LabelESP        = "esp"
	LabelSeed       = "k8snode-seed"
	LabelRoot       = "k8snode-root"
	LabelState      = "k8snode-state"
	LabelEtcd       = "k8snode-etcd"
	LabelContainers = "k8snode-containers"
)

// A Manifest describes one baked image. Digests are lower-case hexadecimal
// SHA-256.
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Name is the recipe's name, ID the digest of the resolved recipe and of
	// every input: two images with one ID hold the same bytes.
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Kernel   string   `json:"kernel"`
	Ignition Ignition `json:"ignition"`
	// Root describes the root file system, the same bytes in every artifact.
	Root RootInfo `json:"root"`
	// Cmdline is the kernel command line of an installed machine.
	Cmdline string `json:"cmdline"`
	// Kubernetes is the version of the baked kubeadm, for instance v1.37.2.
	Kubernetes string     `json:"kubernetes,omitempty"`
	Disk       DiskInfo   `json:"disk"`
	Artifacts  []Artifact `json:"artifacts"`
	Inputs     []Input    `json:"inputs"`
	// Recipe is the merged recipe [Recipe.WithoutMirrors], and Files are those
	// that it puts into the root, sorted by path: with both, an output folder
	// can be verified with nothing else at hand.
	Recipe *Recipe         `json:"recipe,omitempty"`
	Files  []InstalledFile `json:"files,omitempty"`
	// Provisioned are the changes that were made to the root by hand, or by a
	// program that knows no lock, before it was sealed: nothing pins them. They
	// are sorted by path.
	Provisioned []Change `json:"provisioned,omitempty"`
}

// A ChangeKind says what happened to a file.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded    ChangeKind = "added"
	ChangeModified ChangeKind = "modified"
	ChangeRemoved  ChangeKind = "removed"
)

// A Change is a file that is other than the recipe and the lock make it. What
// it is now is in the embedded description, which has only a path when it was
// removed.
type Change struct {
	Change ChangeKind `json:"change"`
	InstalledFile

	// Dropped says that the file is not in the root: it belongs to the tools
	// that made the image.
	Dropped bool `json:"dropped,omitempty"`
	// Special describes what is neither file, folder nor symbolic link.
	Special string `json:"special,omitempty"`
	// Xattrs are the extended attributes, "name=hexadecimal" with spaces
	// between them.
	Xattrs string `json:"xattrs,omitempty"`
}

// An InstalledFile is a regular file, a symbolic link or a folder of the root
// that does not come from a package: one that the recipe describes, a program,
// or the archive of a container image. Exactly one of SHA256, Symlink and
// Directory is set.
type InstalledFile struct {
	// Path is absolute.
	Path      string `json:"path"`
	SHA256    string `json:"sha256,omitempty"`
	Symlink   string `json:"symlink,omitempty"`
	Directory bool   `json:"directory,omitempty"`
	// Mode holds the permission bits with set-user-ID, set-group-ID and
	// sticky, as chmod(2) has them. A symbolic link has none.
	Mode uint32 `json:"mode,omitempty"`
	UID  int    `json:"uid,omitempty"`
	GID  int    `json:"gid,omitempty"`
}

// WithoutMirrors returns the recipe without the places that its inputs are
// fetched from: they are another matter than what the image is, and may be
// private.
func (r Recipe) WithoutMirrors() Recipe {
	r.Spec.Mirrors = nil
	r.Spec.Distribution.Mirror = ""
	return r
}

// Ignition names the Ignition in the image and the newest config
// specification that it reads.
type Ignition struct {
	Version string `json:"version"`
	MaxSpec string `json:"maxSpec"`
}

// RootInfo describes the root file system: a squashfs, padded to a multiple of
// 4096 bytes, and behind it its dm-verity superblock and hash tree (format 1,
// SHA-256, blocks of 4096 bytes).
type RootInfo struct {
	// Size is of the squashfs with its padding, which is where the tree
	// begins; Total is the size of both, in bytes.
	Size  int64 `json:"size"`
	Total int64 `json:"total"`
	// RootHash and Salt are hexadecimal.
	RootHash string `json:"rootHash"`
	Salt     string `json:"salt"`
}

// DiskInfo describes the raw disk image; sizes are in bytes.
type DiskInfo struct {
	Size       int64       `json:"size"`
	SectorSize int         `json:"sectorSize"`
	GUID       string      `json:"guid"`
	Partitions []Partition `json:"partitions"`
}

// Partition is one GPT entry; Start and Size are in bytes.
type Partition struct {
	Label string `json:"label"`
	Type  string `json:"type"`
	GUID  string `json:"guid"`
	Start int64  `json:"start"`
	Size  int64  `json:"size"`
}

// Artifact is a file of the output folder.
type Artifact struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Input is one thing that the image was made from.
type Input struct {
	// Source is deb, gomod, url, oci or file.
	Source  string `json:"source"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Digest is "sha256:" and hexadecimal digits, or the "h1:" hash of a Go
	// module as in go.sum.
	Digest string `json:"digest"`
}

// Artifact returns the artifact at path, a slash-separated path below the
// output folder.
func (m Manifest) Artifact(path string) (Artifact, bool) {
	for _, a := range m.Artifacts {
		if a.Path == path {
			return a, true
		}
	}
	return Artifact{}, false
}

// A BlockMap lists the non-zero blocks of a raw disk image and where each is
// in the compressed file. Every block is one zstd frame, so that a reader can
// fetch, check and write blocks in any order, and resume after any of them.
// Ranges of the disk that no block covers are zero in the image and need not
// be written to a disk whose other content is erased or irrelevant.
type BlockMap struct {
	// Version is 1.
	Version int `json:"version"`
	// Size of the raw image in bytes.
	Size int64 `json:"size"`
	// SectorSize is the logical sector size in bytes of the disks that the
	// image is for; zero means 512.
	SectorSize int `json:"sectorSize,omitempty"`
	// Blocks in ascending order of Offset, without overlap. The block at
	// offset 0 holds the protective MBR and the primary GPT: a disk without
	// it does not boot, so a writer writes it last.
	Blocks []Block `json:"blocks"`
}

// Block is a range of the raw image.
type Block struct {
	// Offset and Length are of the raw image, in bytes.
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
	// SHA256 is of the raw bytes.
	SHA256 string `json:"sha256"`
	// StoredOffset and StoredLength are of the compressed file.
	StoredOffset int64 `json:"storedOffset"`
	StoredLength int64 `json:"storedLength"`
}

// OpenManifest reads the manifest of a baked image, dir.
func OpenManifest(dir string) (Manifest, error) {
	m, _, err := ReadManifest(dir)
	return m, err
}

// ReadManifest is OpenManifest for who needs the manifest's text as well, of
// which a signature is.
func ReadManifest(dir string) (m Manifest, text []byte, err error) {
	path := filepath.Join(dir, ManifestFile)
	text, err = os.ReadFile(path)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("reading the image: %w; bake one with \"k8snode bake\"", err)
	}
	m, err = ParseManifest(path, text)
	return m, text, err
}

// OpenSignature reads the signature of the manifest in dir, nil when there is
// none. It checks nothing.
func OpenSignature(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, SignatureFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signature of the image: %w", err)
	}
	defer f.Close()
	// One byte more, so that what is too long shows.
	b, err := io.ReadAll(io.LimitReader(f, signature.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the signature of the image: %w", err)
	}
	return b, nil
}

// ParseManifest reads a manifest; name is that of its file, for messages.
func ParseManifest(name string, b []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("reading %s: %w", name, err)
	}
	if m.Kind != ManifestKind || m.APIVersion != APIVersion {
		return Manifest{}, fmt.Errorf("reading %s: not the manifest of an image of %s", name, APIVersion)
	}
	return m, nil
}
