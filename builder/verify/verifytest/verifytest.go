// Package verifytest bakes small images for tests, with the real tools and
// without a kernel: every artifact is there, they fit together, and package
// verify finds nothing wrong.
//
// [Default] returns what such an image is made of. A test changes that, and
// [Parts.Bake] makes the output folder: so the artifacts fit together, and only
// their content is wrong. Start with [Default].
package verifytest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing/fstest"
	"time"

	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// What every image of this package is, and what it has.
const (
	Release = "7.3.4-test"
	ImageID = "1e5b357fad255cc5a4906e3dbb606d0958a305e26232d1f7899e646a99229de9"
	Agent   = "the agent"
	// Zero is a digest that nothing has.
	Zero = "0000000000000000000000000000000000000000000000000000000000000000"
)

// Epoch is the time of every image.
func Epoch() time.Time { return time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC) }

// Entry is one of the root, beside those of the recipe.
type Entry struct {
	// Kind is a type of package tar.
	Kind byte
	Mode int64
	UID  int
	// Body is the content of a file, or the target of a link.
	Body string
	// Modified is an hour before the epoch unless it is set.
	Modified time.Time
}

// File is a file that everybody may read.
func File(body string) Entry { return Entry{Kind: tar.TypeReg, Mode: 0o644, Body: body} }

// Link is a symbolic link.
func Link(target string) Entry { return Entry{Kind: tar.TypeSymlink, Mode: 0o777, Body: target} }

// Parts are all that an image is made of. A test changes them before the bake:
// then everything fits together, and only the content is wrong.
type Parts struct {
	Recipe  images.Recipe
	Sources fstest.MapFS
	// Root has files that the packages have; over it lie those of the recipe.
	Root map[string]Entry
	// Files changes what the recipe's tree has in the root, and only there.
	Files func([]tree.Entry) []tree.Entry
	// Initramfs are files by their paths.
	Initramfs map[string]string
	// Kernel is the release in the kernel's header, Uname that in the UKI.
	Kernel, Uname string
	// Cmdline changes the command line of one artifact.
	Cmdline func(artifact, s string) string
	// Inputs are those of the manifest, SBOM changes those of the document.
	Inputs []images.Input
	SBOM   func(*sbom.Input)
	// Manifest changes what is written.
	Manifest func(*images.Manifest)
	// Env of the commands that are run, normally the caller's.
	Env []string
	// Made is the time of the squashfs, RootMode that of its root folder.
	Made     time.Time
	RootMode string
}

// Default returns the parts of a good image, which is baked with an environment.
func Default(env []string) *Parts {
	p := &Parts{
		Recipe: images.Recipe{
			APIVersion: images.APIVersion, Kind: images.RecipeKind,
			Metadata: images.Metadata{Name: "test"},
			Spec: images.Spec{
				Epoch:        Epoch(),
				Distribution: images.Distribution{Suite: "trixie", Mirror: "http://mirror.example"},
				Kernel:       images.Kernel{Package: "linux-image-amd64", Suite: "trixie-backports", Arguments: []string{"console=ttyS0"}},
				Modules: []images.Module{{Module: "example.org/prog", Version: "v1.2.3", Programs: []images.Program{
					{Name: "prog", Package: "example.org/prog", Path: "/usr/bin/prog"},
				}}},
				Containers:    []images.Container{{Reference: "example.org/pause:1", Role: images.RoleAll, Program: "prog", Path: "/pause"}},
				Sysctls:       map[string]string{"net.ipv4.ip_forward": "1", "kernel.panic": "10"},
				KernelModules: []string{"overlay", "br_netfilter"},
				Journald:      map[string]string{"SystemMaxUse": "1G"},
				Units: []images.Unit{
					{Name: "own.service", Source: "own.service", Enabled: true, Dropins: []images.Dropin{{Name: "10.conf", Source: "drop.conf"}}},
					{Name: "off.service", Source: "own.service"},
					{Name: "packaged.service", Enabled: true},
				},
				Users: []images.User{{Name: "etcd", UID: 62379}},
				Files: []images.File{
					{Path: "/etc/secretive", Contents: "x\n", Mode: 0o600},
					{Path: "/etc/folder", Directory: true, Mode: 0o750},
					{Path: "/etc/resolv.conf", Symlink: "../run/resolv.conf"},
				},
				Disk: images.Disk{ESPMiB: 34, RootMiB: 2, SectorSize: 512, CompressionLevel: 1},
			},
		},
		Sources: fstest.MapFS{
			"own.service": {Data: []byte("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")},
			"drop.conf":   {Data: []byte("[Service]\nNice=1\n")},
		},
		Root: map[string]Entry{
			"/usr/lib/os-release":                                      File("ID=debian\n"),
			"/etc/os-release":                                          Link("../usr/lib/os-release"),
			"/usr/lib/systemd/system/packaged.service":                 File("[Install]\nWantedBy=multi-user.target\n"),
			"/usr/lib/systemd/system/debug-shell.service":              File("[Install]\nWantedBy=sysinit.target\n"),
			"/usr/lib/systemd/system/remote-fs.target":                 File("[Install]\nWantedBy=multi-user.target\n"),
			"/usr/lib/systemd/system-preset/90-systemd.preset":         File("# the distribution's\nenable remote-fs.target\ndisable debug-shell.service\n"),
			"/usr/lib/systemd/system/sysinit.target.wants/dev.service": Link("../dev.service"),
			"/usr/lib/sysctl.d/50-default.conf":                        File("kernel.panic = 0\n-net.ipv4.ping_group_range = 0 1\n"),
			"/usr/lib/modules/" + Release + "/modules.dep":             File(""),
			"/usr/lib/modules/" + Release + "/modules.builtin":         File("kernel/fs/overlayfs/overlay.ko\n"),
			"/usr/lib/modules/" + Release + "/net/br-netfilter.ko.xz":  File("m"),
			"/etc/passwd":   File("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"),
			"/etc/shadow":   {Kind: tar.TypeReg, Mode: 0o640, Body: "root:*:1::::::\n_chrony:!:1::::::\n"},
			"/usr/bin/sudo": {Kind: tar.TypeReg, Mode: 0o4755, Body: "sudo"},
			"/var/tmp":      {Kind: tar.TypeDir, Mode: 0o1777},
			"/var/lib/dpkg/status": File("Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n" +
				"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"),
			// Enough content that damage has something to hit.
			"/usr/share/noise": File(Noise(300_000)),
		},
		Files: func(e []tree.Entry) []tree.Entry { return e },
		Initramfs: map[string]string{
			"usr/bin/ignition": "ignition", "usr/bin/k8snode-agent": Agent,
			"usr/lib/modules/" + Release + "/modules.dep": "",
			"usr/share/noise": Noise(100_000),
		},
		Kernel: Release, Uname: Release,
		Cmdline:  func(_, s string) string { return s },
		SBOM:     func(*sbom.Input) {},
		Manifest: func(*images.Manifest) {},
		Env:      env,
		Made:     Epoch(), RootMode: "0755",
	}
	p.Recipe = p.Recipe.Default()
	p.Inputs = []images.Input{
		{Source: "deb", Name: "bash", Version: "5.2", Digest: "sha256:" + Zero},
		{Source: "file", Name: "k8snode-agent", Digest: "sha256:" + source.SumBytes([]byte(Agent))},
		{Source: "gomod", Name: "example.org/prog", Version: "v1.2.3", Digest: "h1:abc="},
	}
	return p
}

// Noise is text that does not compress well and is always the same.
func Noise(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))
		b.Write(sum[:])
	}
	return b.String()[:n]
}
