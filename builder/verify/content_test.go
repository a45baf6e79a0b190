package verify_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/images"
)

// findings verifies a folder and returns what was found, as text.
func findings(t *testing.T, dir string, o verify.Options) []string {
	t.Helper()
	r, err := verify.Verify(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	// Sizes and hashes depend on the version of mksquashfs.
	var m images.Manifest
	if b, err := os.ReadFile(filepath.Join(dir, images.ManifestFile)); err == nil {
		_ = json.Unmarshal(b, &m) // some tests have a manifest that is none
	}
	var blocks images.BlockMap
	if b, err := os.ReadFile(filepath.Join(dir, images.BlockMapFile)); err == nil {
		_ = json.Unmarshal(b, &blocks)
	}
	var words []string
	if m.Root.RootHash != "" {
		words = append(words, m.Root.RootHash, "HASH", fmt.Sprint(m.Root.Size), "SIZE", fmt.Sprint(m.Root.Total), "TOTAL", fmt.Sprint(m.Root.Total-1), "LAST")
	}
	if n := len(blocks.Blocks); n > 0 {
		last := blocks.Blocks[n-1]
		words = append(words, fmt.Sprint(last.StoredOffset+last.StoredLength), "STORED")
	}
	if st, err := os.Stat(filepath.Join(dir, images.DiskFile)); err == nil {
		words = append(words, fmt.Sprint(st.Size()), "FILE")
	}
	if st, err := os.Stat(filepath.Join(dir, images.ISOFile)); err == nil {
		words = append(words, fmt.Sprintf("sector %d", st.Size()/512-1), "sector LAST")
	}
	mask := strings.NewReplacer(words...)
	other := regexp.MustCompile(`(root hash is) [0-9a-f]{64}|\b(is|be) [0-9a-f]{8}\b`)
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, other.ReplaceAllString(mask.Replace(f.String()), "$1$2 OTHER"))
	}
	return all
}

// edit changes the entry of the recipe's tree with a path.
func edit(path string, change func(*tree.Entry)) func([]tree.Entry) []tree.Entry {
	return func(all []tree.Entry) []tree.Entry {
		all = slices.Clone(all)
		for i := range all {
			if all[i].Path == path {
				change(&all[i])
			}
		}
		return all
	}
}

func remove(path string) func([]tree.Entry) []tree.Entry {
	return func(all []tree.Entry) []tree.Entry {
		return slices.DeleteFunc(slices.Clone(all), func(e tree.Entry) bool { return e.Path == path })
	}
}

// put adds files to the root.
func put(more map[string]verifytest.Entry) func(*verifytest.Parts) {
	return func(p *verifytest.Parts) { maps.Copy(p.Root, more) }
}

// TestContent bakes images whose artifacts all fit together, and have the
// wrong content.
func TestContent(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*verifytest.Parts)
		want   []string
	}{
		{"the recipe's files", func(p *verifytest.Parts) {
			p.Files = func(all []tree.Entry) []tree.Entry {
				all = edit("etc/secretive", func(e *tree.Entry) { e.Mode = 0o644 })(all)
				all = edit("etc/folder", func(e *tree.Entry) { e.UID = 7 })(all)
				all = edit("etc/resolv.conf", func(e *tree.Entry) { e.Target = "elsewhere" })(all)
				all = edit("usr/bin/prog", func(e *tree.Entry) { e.Content = []byte("Prog") })(all)
				all = edit("usr/bin/k8snode-agent", func(e *tree.Entry) { e.Kind, e.Target = tree.Symlink, "prog" })(all)
				return remove("usr/share/k8snode/images/all/example.org_pause_1.tar")(all)
			}
		}, []string{
			"pxe/rootfs.squashfs: /etc/folder belongs to 7:0, and should to 0:0; bake again",
			"pxe/rootfs.squashfs: /etc/resolv.conf points to elsewhere, and should to ../run/resolv.conf; bake again",
			"pxe/rootfs.squashfs: /etc/secretive has mode 0644, and should have 0600; bake again",
			"pxe/rootfs.squashfs: /usr/bin/k8snode-agent is a symbolic link, and should be a file; bake again",
			"pxe/rootfs.squashfs: /usr/bin/prog has other content than the manifest says; bake again",
			"pxe/rootfs.squashfs: /usr/share/k8snode/images/all/example.org_pause_1.tar is missing; bake again",
		}},
		{"a unit is missing", func(p *verifytest.Parts) {
			p.Files = remove("usr/lib/systemd/system/own.service")
			delete(p.Root, "/usr/lib/systemd/system/packaged.service")
		}, []string{
			"pxe/rootfs.squashfs: /usr/lib/systemd/system/own.service is missing; bake again",
			"pxe/rootfs.squashfs: there is no unit own.service, which the recipe names; add the package that has it to spec.packages, or drop the unit from spec.units",
			"pxe/rootfs.squashfs: there is no unit packaged.service, which the recipe names; add the package that has it to spec.packages, or drop the unit from spec.units",
		}},
		{"a preset enables more", put(map[string]verifytest.Entry{
			"/etc/systemd/system-preset/10-more.preset": verifytest.File("enable off.*\nenable debug-shell.service\ndisable packaged.service\n"),
			// Hides the distribution's, and so changes nothing that matters.
			"/etc/systemd/system-preset/90-systemd.preset": verifytest.File(""),
		}), []string{
			`pxe/rootfs.squashfs: debug-shell.service is enabled by "debug-shell.service" of /etc/systemd/system-preset/10-more.preset, and the recipe does not name it; add it to spec.units, or remove the preset`,
			`pxe/rootfs.squashfs: off.service is enabled by "off.*" of /etc/systemd/system-preset/10-more.preset, and the recipe does not enable it; bake again`,
		}},
		{"presets in another order", put(map[string]verifytest.Entry{
			"/usr/lib/systemd/system-preset/00-before.preset": verifytest.File("disable packaged.service\n"),
		}), []string{
			`pxe/rootfs.squashfs: packaged.service is disabled by "packaged.service" of /usr/lib/systemd/system-preset/00-before.preset, and the recipe enables it; bake again`,
		}},
		{"no last preset", func(p *verifytest.Parts) { p.Files = remove("usr/lib/systemd/system-preset/99-k8snode-last.preset") }, []string{
			"pxe/rootfs.squashfs: /usr/lib/systemd/system-preset/99-k8snode-last.preset is missing; bake again",
			`pxe/rootfs.squashfs: off.service is enabled by "*" of no preset file, and the recipe does not enable it; bake again`,
		}},
		{"links enable units", put(map[string]verifytest.Entry{
			"/etc/systemd/system/multi-user.target.wants/debug-shell.service":   verifytest.Link("/usr/lib/systemd/system/debug-shell.service"),
			"/etc/systemd/system/sockets.target.requires/x.socket":              verifytest.Link("/usr/lib/systemd/system/x.socket"),
			"/usr/lib/systemd/system/multi-user.target.wants/off.service":       verifytest.Link("../off.service"),
			"/usr/lib/systemd/system/multi-user.target.wants/own.service":       verifytest.Link("../own.service"),
			"/usr/lib/systemd/system/multi-user.target.wants/something.service": verifytest.Link("../something.service"),
		}), []string{
			"pxe/rootfs.squashfs: /etc/systemd/system/multi-user.target.wants/debug-shell.service enables debug-shell.service past the presets; drop the link: presets enable units, by spec.units",
			"pxe/rootfs.squashfs: /etc/systemd/system/sockets.target.requires/x.socket enables x.socket past the presets; drop the link: presets enable units, by spec.units",
			"pxe/rootfs.squashfs: /usr/lib/systemd/system/multi-user.target.wants/off.service enables off.service, and the recipe does not; drop the link, or enable the unit in spec.units",
		}},
		{"later files win over the recipe's settings", put(map[string]verifytest.Entry{
			"/usr/lib/sysctl.d/99-package.conf":                verifytest.File("net/ipv4/ip_forward=0\n"),
			"/etc/systemd/journald.conf.d/95-more.conf":        verifytest.File("[Journal]\nSystemMaxUse=4G\n"),
			"/etc/modules-load.d/90-k8snode.conf":              verifytest.File("# hides that of the recipe\noverlay\n"),
			"/etc/sysctl.d/90-not.a.conf.file":                 verifytest.File("kernel.panic = 3\n"),
			"/usr/lib/systemd/journald.conf.d/10-earlier.conf": verifytest.File("[Journal]\nSystemMaxUse=2G\n"),
		}), []string{
			"pxe/rootfs.squashfs: journald's setting SystemMaxUse is \"4G\" by /etc/systemd/journald.conf.d/95-more.conf, and spec.journald says \"1G\"; see to it that no file of a later name sets it",
			"pxe/rootfs.squashfs: the kernel module br_netfilter of spec.kernelModules is in no file of modules-load.d; bake again",
			"pxe/rootfs.squashfs: the sysctl net.ipv4.ip_forward is \"0\" by /usr/lib/sysctl.d/99-package.conf, and spec.sysctls says \"1\"; see to it that no file of a later name sets it",
		}},
		{"settings are nowhere", func(p *verifytest.Parts) {
			p.Files = func(all []tree.Entry) []tree.Entry {
				all = remove("usr/lib/sysusers.d/k8snode.conf")(all)
				all = remove("usr/lib/systemd/journald.conf.d/90-k8snode.conf")(all)
				return remove("usr/lib/sysctl.d/90-k8snode.conf")(all)
			}
		}, []string{
			"pxe/rootfs.squashfs: /usr/lib/sysctl.d/90-k8snode.conf is missing; bake again",
			"pxe/rootfs.squashfs: /usr/lib/systemd/journald.conf.d/90-k8snode.conf is missing; bake again",
			"pxe/rootfs.squashfs: /usr/lib/sysusers.d/k8snode.conf is missing; bake again",
			"pxe/rootfs.squashfs: journald's setting SystemMaxUse of spec.journald is in no file; bake again",
			"pxe/rootfs.squashfs: no file of sysusers.d makes the user etcd with the number 62379; bake again",
			"pxe/rootfs.squashfs: the sysctl kernel.panic is \"0\" by /usr/lib/sysctl.d/50-default.conf, and spec.sysctls says \"10\"; see to it that no file of a later name sets it",
			"pxe/rootfs.squashfs: the sysctl net.ipv4.ip_forward of spec.sysctls is in no file; bake again",
		}},
		{"machine-id", func(p *verifytest.Parts) {
			p.Files = edit("etc/machine-id", func(e *tree.Entry) { e.Content = []byte("0123456789abcdef0123456789abcdef\n") })
		}, []string{
			`pxe/rootfs.squashfs: /etc/machine-id has other content than the manifest says; bake again`,
			`pxe/rootfs.squashfs: /etc/machine-id is "0123456789abcdef0123456789abcdef\n", and should be "uninitialized\n": systemd would apply no presets, or every machine would be the same; bake again`,
		}},
		{"identity, traces and tools", put(map[string]verifytest.Entry{
			"/etc/ssh/ssh_host_ed25519_key.pub":             verifytest.File("ssh-ed25519 AAAA"),
			"/var/lib/systemd/random-seed":                  verifytest.File("seed"),
			"/var/lib/apt/lists/deb_Packages":               verifytest.File("x"),
			"/var/log/dpkg.log":                             verifytest.File("x"),
			"/var/cache/apt/pkgcache.bin":                   verifytest.File("x"),
			"/home/me/notes":                                verifytest.File("x"),
			"/root/.bash_history":                           verifytest.File("x"),
			"/usr/bin/dracut":                               verifytest.File("x"),
			"/usr/sbin/grub-install":                        verifytest.File("x"),
			"/tmp/x":                                        verifytest.File("x"),
			"/var/lib/systemd/coredump/core.sh.zst":         verifytest.File("x"),
			"/usr/share/core/is-no-dump":                    verifytest.File("x"),
			"/etc/apt/sources.list.d/in-a-recipe-it-may-be": verifytest.File("x"),
		}), left(
			"/etc/apt/sources.list.d/in-a-recipe-it-may-be must not be in an image: it tells of the machine that baked",
			"/etc/ssh/ssh_host_ed25519_key.pub must not be in an image: it would be every machine's",
			"/home/me/notes must not be in an image: it tells of the machine that baked",
			"/root/.bash_history must not be in an image: it tells of the machine that baked",
			"/tmp/x must not be in an image: it is the state of a running machine",
			"/usr/bin/dracut must not be in an image: it is a tool of the bake",
			"/usr/sbin/grub-install must not be in an image: it is a tool of the bake",
			"/var/cache/apt/pkgcache.bin must not be in an image: it tells of the machine that baked",
			"/var/lib/apt/lists/deb_Packages must not be in an image: it tells of the machine that baked",
			"/var/lib/systemd/coredump/core.sh.zst must not be in an image: it is the state of a running machine",
			"/var/lib/systemd/random-seed must not be in an image: it would be every machine's",
			"/var/log/dpkg.log must not be in an image: it tells of the machine that baked",
		)},
		{"what the recipe names may be there", func(p *verifytest.Parts) {
			p.Recipe.Spec.Files = append(p.Recipe.Spec.Files, images.File{Path: "/etc/hostname", Contents: "rescue\n"})
		}, nil},
		{"secrets", put(map[string]verifytest.Entry{
			"/etc/shadow":                    {Kind: tar.TypeReg, Mode: 0o640, Body: "root:$y$j9T$abc:1::::::\nme::1::::::\n"},
			"/etc/passwd":                    verifytest.File("root:x:0:0:root:/root:/bin/bash\nbuild:x:1000:1000::/home/build:/bin/sh\nold:abcdefg:5:5::/:\n"),
			"/etc/ssl/private/server.key":    {Kind: tar.TypeReg, Mode: 0o600, Body: "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n"},
			"/root/.ssh/authorized_keys":     verifytest.File("ssh-ed25519 AAAA me\n"),
			"/etc/ssl/certs/certificate.pem": verifytest.File("-----BEGIN CERTIFICATE-----\nabc\n"),
		}), []string{
			"pxe/rootfs.squashfs: /etc/passwd has a password for old; remove it: secrets come by Ignition",
			"pxe/rootfs.squashfs: /etc/passwd has the user build with the number 1000; make users with Ignition, or system users in spec.users",
			"pxe/rootfs.squashfs: /etc/shadow has a password for me; remove it: secrets come by Ignition",
			"pxe/rootfs.squashfs: /etc/shadow has a password for root; remove it: secrets come by Ignition",
			"pxe/rootfs.squashfs: /etc/ssl/private/server.key has a private key; remove it: secrets come by Ignition",
			"pxe/rootfs.squashfs: /root/.ssh/authorized_keys lets somebody in; remove it: secrets come by Ignition",
		}},
		{"rights, owners and times", func(p *verifytest.Parts) {
			p.Made, p.RootMode = verifytest.Epoch().Add(time.Hour), "0777"
			maps.Copy(p.Root, map[string]verifytest.Entry{
				"/usr/share/open":   {Kind: tar.TypeReg, Mode: 0o666, Body: "x"},
				"/usr/share/folder": {Kind: tar.TypeDir, Mode: 0o777},
				"/usr/share/mine":   {Kind: tar.TypeReg, Mode: 0o644, UID: 1000, Body: "x"},
				"/usr/share/etcd":   {Kind: tar.TypeReg, Mode: 0o644, UID: 62379, Body: "x"},
				"/usr/share/nobody": {Kind: tar.TypeReg, Mode: 0o644, UID: 65534, Body: "x"},
				"/usr/share/late":   {Kind: tar.TypeReg, Mode: 0o644, Modified: verifytest.Epoch().Add(time.Minute), Body: "x"},
				"/usr/share/null":   {Kind: tar.TypeChar, Mode: 0o600},
			})
		}, []string{
			"pxe/rootfs.squashfs: / can be written by everybody: its mode is 0777; set its mode in spec.files",
			"pxe/rootfs.squashfs: / is of 2026-11-01 01:00:00, later than the epoch; bake again",
			"pxe/rootfs.squashfs: /usr/share/folder can be written by everybody: its mode is 0777; set its mode in spec.files",
			"pxe/rootfs.squashfs: /usr/share/late is of 2026-11-01 00:01:00, later than the epoch; bake again",
			"pxe/rootfs.squashfs: /usr/share/mine belongs to 1000:0, which is nobody's number in an image; give it to a user of the system",
			"pxe/rootfs.squashfs: /usr/share/null is a device; leave out the package that brings it; if none does, the bake left it there: report that",
			"pxe/rootfs.squashfs: /usr/share/open can be written by everybody: its mode is 0666; set its mode in spec.files",
			"pxe/rootfs.squashfs: the squashfs is of 2026-11-01 01:00:00, later than the epoch; bake again",
		}},
		{"a kernel without its modules", func(p *verifytest.Parts) { p.Kernel = "7.4.0-other" }, []string{
			"pxe/vmlinuz: it is of release 7.4.0-other, and the manifest says 7.3.4-test; copy the folder again, or bake again",
		}},
		{"no modules in the root", func(p *verifytest.Parts) {
			p.Root["/usr/lib/modules/7.4.0-other/modules.dep"] = verifytest.File("")
			delete(p.Root, "/usr/lib/modules/"+verifytest.Release+"/modules.dep")
		}, []string{
			"pxe/rootfs.squashfs: /usr/lib/modules/7.4.0-other is of another kernel than 7.3.4-test; name one kernel in spec.kernel and none in spec.packages",
			"pxe/rootfs.squashfs: the kernel is 7.3.4-test, and there is no /usr/lib/modules/7.3.4-test/modules.dep; name the package with the kernel's modules in spec.kernel",
		}},
		{"a module that the kernel lacks", func(p *verifytest.Parts) {
			delete(p.Root, "/usr/lib/modules/"+verifytest.Release+"/net/br-netfilter.ko.xz")
		}, []string{
			"pxe/rootfs.squashfs: the kernel 7.3.4-test has no module br_netfilter; correct the name in spec.kernelModules, or add the package that has it",
		}},
		{"an initramfs of another kernel", func(p *verifytest.Parts) {
			p.Initramfs = map[string]string{"lib/modules/7.4.0-other/modules.dep": "", "./bin/k8snode-agent": "another", "etc/ssh/ssh_host_rsa_key": ""}
		}, []string{
			"pxe/initrd.img: the initramfs has /etc/ssh/ssh_host_rsa_key; remove it: secrets come by Ignition",
			"pxe/initrd.img: the initramfs has another agent than the manifest: sha256:" + source.SumBytes([]byte("another")) + ", not sha256:" + source.SumBytes([]byte(verifytest.Agent)) + "; bake again",
			"pxe/initrd.img: the initramfs has modules of the kernel 7.4.0-other, and the kernel is 7.3.4-test; bake again",
			"pxe/initrd.img: the initramfs has no /usr/bin/ignition; bake again",
			"pxe/initrd.img: the initramfs has no /usr/lib/modules/7.3.4-test/modules.dep; bake again",
		}},
		{"keys of images", func(p *verifytest.Parts) {
			p.Recipe.Spec.ImageKeys = []string{imageKey}
			p.Initramfs["etc/k8snode/image-keys"] = imageKey + "\n"
		}, nil},
		{"no keys of images", func(p *verifytest.Parts) { p.Recipe.Spec.ImageKeys = []string{imageKey} }, []string{
			"pxe/initrd.img: the initramfs has no /etc/k8snode/image-keys: its installer would take unsigned images; bake again",
		}},
		{"other keys of images", func(p *verifytest.Parts) { p.Initramfs["etc/k8snode/image-keys"] = imageKey + "\n" }, []string{
			`pxe/initrd.img: the initramfs has other keys in /etc/k8snode/image-keys than the recipe: ["` + imageKey + `"], not []; bake again`,
		}},
		{"a package that nobody locked", func(p *verifytest.Parts) {
			p.Root["/var/lib/dpkg/status"] = verifytest.File("Package: bash\nStatus: install ok installed\nVersion: 5.3\n")
		}, []string{
			"pxe/rootfs.squashfs: the package bash 5.3 is installed, and the inputs of the manifest do not have it; bake again",
		}},
		{"an SBOM without a package", func(p *verifytest.Parts) { p.SBOM = func(in *sbom.Input) { in.Root = nil } }, []string{
			"sbom.spdx.json: it lacks deb bash 5.2 sha256:" + verifytest.Zero + ", which the manifest has; bake again",
		}},
		{"an SBOM of another image", func(p *verifytest.Parts) {
			p.SBOM = func(in *sbom.Input) {
				in.ID = "another"
				in.Modules[0].Pin.Sum = "h1:def="
			}
		}, []string{
			"sbom.spdx.json: it has gomod example.org/prog v1.2.3 h1:def=, which the manifest has not; bake again",
			"sbom.spdx.json: it is of another image: its namespace is " + sbom.Namespace("test", "another") + "; bake again",
			"sbom.spdx.json: it lacks gomod example.org/prog v1.2.3 h1:abc=, which the manifest has; bake again",
		}},
		{"a manifest that does not fit", func(p *verifytest.Parts) {
			p.Manifest = func(m *images.Manifest) {
				m.Name, m.Cmdline = "other", "quiet"
				m.Disk.GUID = "00000000-0000-0000-0000-000000000000"
				m.Inputs = slices.DeleteFunc(slices.Clone(m.Inputs), func(in images.Input) bool { return in.Source == "gomod" })
				m.Files = slices.DeleteFunc(slices.Clone(m.Files), func(f images.InstalledFile) bool { return f.Path == "/usr/bin/prog" || f.Path == "/etc/secretive" })
				m.Artifacts = append(m.Artifacts, images.Artifact{Path: "extra", Size: 1, SHA256: verifytest.Zero})
				m.Root.Salt = verifytest.Zero
			}
		}, []string{
			"extra: the manifest lists it, and no output has such a file; bake again",
			"manifest.json: it does not list /etc/secretive, which the recipe puts into the root; bake again",
			"manifest.json: it does not list /usr/bin/prog, which the recipe puts into the root; bake again",
			`manifest.json: the command line is "quiet", and the recipe makes "root=/dev/mapper/root rootfstype=squashfs ro rd.systemd.gpt_auto=0 systemd.gpt_auto=0 k8snode.verity=HASH:SIZE k8snode.root=partuuid:` + strings.ToLower(disk.GUID(verifytest.ImageID, images.LabelRoot)) + ` k8snode.disk=00000000-0000-0000-0000-000000000000 console=ttyS0"; bake again`,
			"manifest.json: the disk is not the one that spec.disk and the image's ID make; bake again",
			`manifest.json: the image is named "other", and its recipe "test"; bake again`,
			"manifest.json: the inputs do not have the module example.org/prog v1.2.3 of the recipe; bake again",
			"pxe/rootfs.squashfs: dm-verity: the salt is " + source.SumBytes([]byte(verifytest.ImageID)) + ", and the manifest says " + verifytest.Zero + "; copy the folder again, or bake again",
			"sbom.spdx.json: it has gomod example.org/prog v1.2.3 h1:abc=, which the manifest has not; bake again",
			"sbom.spdx.json: it is of another image: its namespace is " + sbom.Namespace("test", verifytest.ImageID) + "; bake again",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := verifytest.Default(os.Environ())
			p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
			tc.change(p)
			got := findings(t, bake(t, p), options())
			if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func left(what ...string) []string {
	var all []string
	for _, w := range what {
		all = append(all, "pxe/rootfs.squashfs: "+w+"; leave out the package that brings it; if none does, the bake left it there: report that")
	}
	return all
}
