package builder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// Packages whose files, not whose installation, an image needs.
const (
	stubPackage = "systemd-boot-efi"
	stubFile    = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	ipxePackage = "ipxe"
	// snponly drives the card through the firmware that already loaded it:
	// no driver of its own, no trouble with cards that it does not know.
	ipxeFile = "usr/lib/ipxe/snponly.efi"
)

// bootPackages are those of which files are taken.
func bootPackages() []string { return []string{ipxePackage, stubPackage} }

// A Lock pins every input of an image. It names no host: what a mirror is
// called is a setting of the machine that bakes.
type Lock struct {
	// Key is the digest of the part of the recipe that the lock answers, see
	// [LockKey]; it is not in the file, where Requests say the same.
	Key string `json:"-"`
	// Requests are that part, one line for each thing that is pinned.
	Requests []string `json:"requests"`
	// Root are the packages of the root, Boot the ones whose files are taken.
	Root []source.Deb `json:"root"`
	Boot []source.Deb `json:"boot"`
	// Containers are the packages of container images, by reference.
	Containers map[string][]source.Deb `json:"containers"`
	// Images are container images that are pulled, sorted by name.
	Images []Image `json:"images"`
	// Downloads are files of upstream's releases, sorted by URL.
	Downloads []source.File `json:"downloads"`
	// Modules are in the order of the recipe.
	Modules []source.Module `json:"modules"`
}

// An Image is a container image of a registry, pinned.
type Image struct {
	// Image is what the recipe calls it, Pinned "registry/name@sha256:…" with
	// the digest of its manifest or index.
	Image  string `json:"image"`
	Pinned string `json:"pinned"`
}

// requests say what a lock answers. Their order is that of the recipe only for
// modules, which the lock keeps in that order.
func requests(s images.Spec) []string {
	list := []string{"suite " + s.Distribution.Suite}
	for _, c := range s.Distribution.Components {
		list = append(list, "component "+c)
	}
	list = append(list, "kernel "+s.Kernel.Package+"/"+s.Kernel.Suite)
	for _, p := range bootPackages() {
		list = append(list, "boot "+p)
	}
	for _, p := range slices.Sorted(slices.Values(s.Packages)) {
		list = append(list, "package "+p)
	}
	var containers, pulled, downloads []string
	for _, c := range s.Containers {
		for _, p := range c.Packages {
			containers = append(containers, "container "+c.Reference+" package "+p)
		}
		if c.Image != "" {
			pulled = append(pulled, "image "+c.Image)
		}
	}
	for _, d := range s.Downloads {
		downloads = append(downloads, downloadRequest(d))
	}
	for _, of := range [][]string{containers, pulled, downloads} {
		slices.Sort(of)
		list = append(list, slices.Compact(of)...)
	}
	for _, m := range s.Modules {
		list = append(list, moduleRequest(m.Module, m.Version))
	}
	return list
}

func moduleRequest(path, version string) string { return "module " + path + " " + version }

func downloadRequest(d images.Download) string {
	if d.SHA256 == "" {
		return "download " + d.URL + " (" + d.SHA256URL + ")"
	}
	return "download " + d.URL + " sha256:" + d.SHA256
}

// LockKey names what a lock depends on.
func LockKey(s images.Spec) string { return requestsKey(requests(s)) }

func requestsKey(list []string) string { return source.SumJSON([]any{"lock/2", list}) }

// Module returns the pin of a module.
func (l Lock) Module(path string) (source.Module, bool) {
	for _, m := range l.Modules {
		if m.Path == path {
			return m, true
		}
	}
	return source.Module{}, false
}

// Download returns the pinned file that a download is, or is a member of.
func (l Lock) Download(d images.Download) (source.File, bool) {
	for _, f := range l.Downloads {
		if f.URL == d.URL {
			return f, true
		}
	}
	return source.File{}, false
}

// Image returns the pin of a container image by its name in the recipe.
func (l Lock) Image(name string) (Image, bool) {
	for _, i := range l.Images {
		if i.Image == name {
			return i, true
		}
	}
	return Image{}, false
}

// debs returns every package of the lock once.
func (l Lock) debs() []source.Deb {
	seen := map[string]source.Deb{}
	for _, list := range append(slices.Collect(maps.Values(l.Containers)), l.Root, l.Boot) {
		for _, d := range list {
			seen[d.SHA256] = d
		}
	}
	out := slices.Collect(maps.Values(seen))
	slices.SortFunc(out, compareDebs)
	return out
}

// A Change is one pin that two locks do not share.
type Change struct {
	// Name is that of a package, or a kind and a name.
	Name string
	// Was and Is are versions or digests; empty where there is none.
	Was, Is string
}

// String returns "name old → new".
func (c Change) String() string {
	side := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	return fmt.Sprintf("%s %s → %s", c.Name, side(c.Was), side(c.Is))
}

// Changes returns what is different in another lock, sorted by name.
func (l Lock) Changes(is Lock) []Change {
	before, after := l.pins(), is.pins()
	names := map[string]bool{}
	for _, pins := range []map[string]pin{before, after} {
		for name := range pins {
			names[name] = true
		}
	}
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before[name], after[name]
		switch {
		case was == is:
		case was.version == is.version:
			// Only what was replaced in its place is told by its digest.
			changes = append(changes, Change{name, was.long(), is.long()})
		default:
			changes = append(changes, Change{name, was.version, is.version})
		}
	}
	return changes
}

// pin is what a lock says about one name. Several of one name are one pin.
type pin struct{ version, digest string }

func (p pin) long() string { return p.version + " (" + p.digest + ")" }

func (l Lock) pins() map[string]pin {
	pins := map[string]pin{}
	add := func(name, version, digest string) {
		if have, ok := pins[name]; ok {
			if have.version != version {
				version = have.version + ", " + version
			}
			digest = have.digest + ", " + digest
		}
		pins[name] = pin{version, digest}
	}
	short := func(digest string) string { return digest[:min(12, len(digest))] }
	for _, d := range l.debs() {
		add(d.Package, d.Version, "sha256:"+short(d.SHA256))
	}
	for _, m := range l.Modules {
		add("module "+m.Path, m.Version, m.Sum)
	}
	for _, f := range l.Downloads {
		add("download "+f.URL, "sha256:"+short(f.SHA256), f.SHA256)
	}
	for _, i := range l.Images {
		add("image "+i.Image, "sha256:"+short(strings.TrimPrefix(i.digest(), "sha256:")), i.digest())
	}
	return pins
}
