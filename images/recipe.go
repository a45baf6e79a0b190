package images

import "time"

// APIVersion and RecipeKind identify a recipe document.
const (
	APIVersion = "k8snode.io/v1alpha1"
	RecipeKind = "Image"
)

// A Recipe says what an image is. It holds no paths of the machine that bakes
// it: relative paths are relative to the folder of the recipe.
type Recipe struct {
	// APIVersion is k8snode.io/v1alpha1.
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	// Kind is Image.
	Kind string `yaml:"kind" json:"kind"`
	// Extends is an embedded recipe's name, or the path of a file relative to
	// this one, that this recipe is laid over. A parsed recipe is merged and
	// extends nothing.
	Extends string `yaml:"extends" json:"extends,omitempty"`
	// Metadata names the recipe.
	Metadata Metadata `yaml:"metadata" json:"metadata"`
	// Spec is the content of the image.
	Spec Spec `yaml:"spec" json:"spec"`
}

// Metadata names a recipe.
type Metadata struct {
	// Name is an RFC 1123 label; it is also the default output folder.
	Name string `yaml:"name" json:"name"`
}

// Spec is the content of an image.
type Spec struct {
	// Epoch is the timestamp of every file and file system, RFC 3339.
	Epoch time.Time `yaml:"epoch" json:"epoch"`
	// Distribution names the Debian archive that packages are taken from.
	Distribution Distribution `yaml:"distribution" json:"distribution"`
	// Mirrors say where downloads and container images are fetched instead,
	// by the beginning of their address: a URL such as https://dl.k8s.io to
	// another URL, a registry such as registry.k8s.io to "host/path", with
	// http:// before it if it does not speak https. The lock names the
	// addresses that the recipe has, not the mirrors.
	Mirrors map[string]string `yaml:"mirrors" json:"mirrors,omitempty"`
	// Kernel selects the kernel, which must be newer than the suite's own.
	Kernel Kernel `yaml:"kernel" json:"kernel"`
	// Packages are Debian package names, "name" or "name/suite".
	Packages []string `yaml:"packages" json:"packages"`
	// Modules are Go modules whose programs are compiled into the image.
	Modules []Module `yaml:"modules" json:"modules"`
	// Downloads are programs and files from upstream's releases.
	Downloads []Download `yaml:"downloads" json:"downloads,omitempty"`
	// Containers are images that the nodes have without a registry.
	Containers []Container `yaml:"containers" json:"containers"`
	// Sysctls become /usr/lib/sysctl.d/90-k8snode.conf, sorted by key.
	Sysctls map[string]string `yaml:"sysctls" json:"sysctls"`
	// KernelModules are loaded at boot, before the sysctls are applied.
	KernelModules []string `yaml:"kernelModules" json:"kernelModules"`
	// Journald holds keys of the [Journal] section.
	Journald map[string]string `yaml:"journald" json:"journald"`
	// Units are systemd units: new ones, and changes of those of packages.
	Units []Unit `yaml:"units" json:"units"`
	// Files are files, symbolic links and folders of the root.
	Files []File `yaml:"files" json:"files"`
	// Users are system users.
	Users []User `yaml:"users" json:"users"`
	// ImageKeys are public keys of minisign, one line of base64 each. When there
	// are any, the installer in this image writes no image that none of them
	// signed, whatever the server says.
	ImageKeys []string `yaml:"imageKeys" json:"imageKeys,omitempty"`
	// Disk is the layout of the raw image.
	Disk Disk `yaml:"disk" json:"disk"`
	// Outputs are what a bake makes, all of them by default: raw, zstd, pxe,
	// iso and installer.
	Outputs []Output `yaml:"outputs" json:"outputs,omitempty"`
}

// An Output is a kind of artifact.
type Output string

// The outputs.
const (
	OutputRaw  Output = "raw"  // disk.raw
	OutputZstd Output = "zstd" // disk.raw.zst and its block map
	OutputPXE  Output = "pxe"  // kernel, initramfs and root for a network boot
	OutputISO  Output = "iso"  // live.iso
	// OutputInstaller is installer.iso, which writes disk.raw.zst of a server to
	// a disk.
	OutputInstaller Output = "installer"
)

// Distribution names the Debian archive that packages are taken from.
type Distribution struct {
	// Suite is the base suite, for instance trixie.
	Suite string `yaml:"suite" json:"suite"`
	// Components default to main.
	Components []string `yaml:"components" json:"components"`
	// Mirror is an archive URI; empty means the host's own.
	Mirror string `yaml:"mirror" json:"mirror"`
}

// Kernel selects the kernel. The build fails unless its version is newer than
// the one that the base suite offers.
type Kernel struct {
	// Package is the kernel's package, for instance linux-image-amd64.
	Package string `yaml:"package" json:"package"`
	// Suite is the one that it is taken from, for instance trixie-backports.
	Suite string `yaml:"suite" json:"suite"`
	// Arguments are the kernel command line of an installed machine, after
	// those that k8snode needs itself.
	Arguments []string `yaml:"arguments" json:"arguments"`
}

// Module is a Go module whose programs are built with -trimpath and checked
// by the checksum database.
type Module struct {
	// Module is the module path.
	Module string `yaml:"module" json:"module"`
	// Version is an exact version, for instance v1.2.3.
	Version string `yaml:"version" json:"version"`
	// LocalReplaceVersion is the published version of the modules that the
	// module's go.mod replaces by folders of its own repository (Kubernetes'
	// staging modules).
	LocalReplaceVersion string `yaml:"localReplaceVersion" json:"localReplaceVersion,omitempty"`
	// Cgo enables cgo; the default is a static program.
	Cgo bool `yaml:"cgo" json:"cgo,omitempty"`
	// Tags are build tags.
	Tags []string `yaml:"tags" json:"tags,omitempty"`
	// LDFlags are -X assignments, "import/path.name=value".
	LDFlags []string `yaml:"ldflags" json:"ldflags,omitempty"`
	// Programs are those that are taken from the module, at least one; they go
	// through one compile.
	Programs []Program `yaml:"programs" json:"programs"`
}

// Program is one main package of a Module, or one C file of it.
type Program struct {
	// Name identifies the program in the recipe: Container.Program refers to
	// it. It defaults to the last element of Package.
	Name string `yaml:"name" json:"name,omitempty"`
	// Package is the import path.
	Package string `yaml:"package" json:"package,omitempty"`
	// CSource is a C file of the module, compiled statically, in place of
	// Package (the pause program of Kubernetes).
	CSource string `yaml:"cSource" json:"cSource,omitempty"`
	// Path is where the program goes in the root; empty means that only
	// containers (or the initramfs) use it.
	Path string `yaml:"path" json:"path,omitempty"`
}

// Download is one file of upstream's release. It is a program that
// Container.Program may refer to, or goes to Path in the root, or both.
// Exactly one of SHA256 and SHA256URL is set.
type Download struct {
	// Name identifies the file in the recipe, by default the last element of
	// Member or else of URL.
	Name string `yaml:"name" json:"name,omitempty"`
	// URL is http or https.
	URL string `yaml:"url" json:"url"`
	// SHA256 is the hexadecimal digest of what URL answers.
	SHA256 string `yaml:"sha256" json:"sha256,omitempty"`
	// SHA256URL is where upstream publishes the digest: alone, or in the form
	// of sha256sum(1) with the last element of URL as the name. It is read
	// when the recipe is locked; the lock pins what it said.
	SHA256URL string `yaml:"sha256URL" json:"sha256URL,omitempty"`
	// Member is the path of the wanted file when URL is a tar archive (plain,
	// gzip, xz or zstd) or a zip file.
	Member string `yaml:"member" json:"member,omitempty"`
	// Path in the root. Empty means that only containers (or the initramfs)
	// use the file.
	Path string `yaml:"path" json:"path,omitempty"`
	// Mode of the file in the root.
	Mode uint32 `yaml:"mode" json:"mode,omitempty"`
}

// Container is a container image that is imported before the kubelet starts.
// It is built while baking from Program, or taken whole from Image or Layout:
// exactly one of the three is set, and all that is below Program in this list
// belongs to it.
type Container struct {
	// Reference is the full name with tag, as kubeadm prints it.
	Reference string `yaml:"reference" json:"reference"`
	// Role says which nodes import it: "all" (the default) or "controlPlane".
	Role string `yaml:"role" json:"role,omitempty"`
	// Image is pulled from a registry: "registry/name@sha256:…", or
	// "registry/name:tag", whose digest is asked for when the recipe is locked
	// and pinned by the lock.
	Image string `yaml:"image" json:"image,omitempty"`
	// Layout is an OCI image layout beside the recipe, a folder with one image.
	Layout string `yaml:"layout" json:"layout,omitempty"`
	// Program names a program of the modules, or a download.
	Program string `yaml:"program" json:"program,omitempty"`
	// Path is where the program goes in the image.
	Path string `yaml:"path" json:"path,omitempty"`
	// Entrypoint defaults to [Path].
	Entrypoint []string `yaml:"entrypoint" json:"entrypoint,omitempty"`
	// User is "uid:gid", by default 0:0.
	User string `yaml:"user" json:"user,omitempty"`
	// Packages are Debian packages whose files, with those of their
	// dependencies, are unpacked below the program.
	Packages []string `yaml:"packages" json:"packages,omitempty"`
	// Links are symbolic links, absolute path to target: what a package's
	// maintainer scripts would have made.
	Links map[string]string `yaml:"links" json:"links,omitempty"`
}

// Unit is a systemd unit in /usr/lib/systemd/system.
type Unit struct {
	// Name of the unit with its type, for instance chrony.service.
	Name string `yaml:"name" json:"name"`
	// Source is a file beside the recipe; empty for a unit of a package.
	Source string `yaml:"source" json:"source,omitempty"`
	// Enabled writes a preset line; units without one stay disabled.
	Enabled bool `yaml:"enabled" json:"enabled,omitempty"`
	// Dropins are files of the unit's .d folder.
	Dropins []Dropin `yaml:"dropins" json:"dropins,omitempty"`
}

// Dropin is a file of a unit's .d folder.
type Dropin struct {
	// Name ends in .conf.
	Name string `yaml:"name" json:"name"`
	// Source is a file beside the recipe.
	Source string `yaml:"source" json:"source"`
}

// File is a regular file, a symbolic link or a folder of the root. Exactly one
// of Contents, Source, Symlink and Directory is set.
type File struct {
	// Path is absolute.
	Path string `yaml:"path" json:"path"`
	// Contents of a file, as text.
	Contents string `yaml:"contents" json:"contents,omitempty"`
	// Source is a file beside the recipe.
	Source string `yaml:"source" json:"source,omitempty"`
	// Symlink is what a symbolic link points to.
	Symlink string `yaml:"symlink" json:"symlink,omitempty"`
	// Directory makes a folder.
	Directory bool `yaml:"directory" json:"directory,omitempty"`
	// Mode is 0644 by default, and 0755 for a folder.
	Mode uint32 `yaml:"mode" json:"mode,omitempty"`
}

// User is a system user, made by systemd-sysusers on first boot.
type User struct {
	// Name of the user and of its group.
	Name string `yaml:"name" json:"name"`
	// UID is also the group's ID; it is fixed so that a kept partition keeps
	// its owner across images.
	UID int `yaml:"uid" json:"uid"`
	// Home is made by nobody; it is / by default.
	Home string `yaml:"home" json:"home,omitempty"`
}

// Disk is the layout of the raw image, in MiB. State, etcd and container
// partitions are made by Ignition at the disk's real size.
type Disk struct {
	// ESPMiB is the size of the EFI system partition.
	ESPMiB int `yaml:"espMiB" json:"espMiB"`
	// RootMiB is the size of the root partition, at least that of the root;
	// a fixed size leaves room for a larger root of a later image.
	RootMiB int `yaml:"rootMiB" json:"rootMiB"`
	// SectorSize is the disk's logical sector size, 512 or 4096 bytes. BIOS
	// firmware cannot boot a disk with 4096.
	SectorSize int `yaml:"sectorSize" json:"sectorSize,omitempty"`
	// CompressionLevel of the root's zstd, 1 to 22.
	CompressionLevel int `yaml:"compressionLevel" json:"compressionLevel"`
}
