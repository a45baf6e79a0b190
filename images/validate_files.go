package images

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// absolute checks a path of the image's root.
func (c *checker) absolute(at report.Path, p string) bool {
	switch {
	case !c.required(at, p, "write an absolute path"):
		return false
	case !path.IsAbs(p):
		c.add(at, fmt.Sprintf("%q is not absolute", p), "")
		return false
	case p == "/":
		c.add(at, "the root itself cannot be set", "")
		return false
	case path.Clean(p) != p:
		c.add(at, fmt.Sprintf("%q is not a clean path", p), "write "+path.Clean(p))
		return false
	case strings.ContainsAny(p, "\n\x00"):
		c.add(at, fmt.Sprintf("%q is not a path", p), "")
		return false
	}
	return true
}

// source checks the path of a file beside the recipe.
func (c *checker) source(at report.Path, p string) {
	c.inside(at, p, "the recipe's folder")
}

// inside checks a relative path that must stay in folder.
func (c *checker) inside(at report.Path, p, folder string) bool {
	switch {
	case !c.required(at, p, "name a file of "+folder):
		return false
	case path.IsAbs(p):
		c.add(at, fmt.Sprintf("%q is absolute", p), "write a path relative to "+folder)
		return false
	case path.Clean(p) == ".." || strings.HasPrefix(path.Clean(p), "../"):
		c.add(at, fmt.Sprintf("%q leaves %s", p, folder), "put the file into it")
		return false
	case path.Clean(p) != p || p == ".":
		c.add(at, fmt.Sprintf("%q is not a clean path", p), "write "+path.Clean(p))
		return false
	}
	return true
}

var (
	unitPattern   = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	dropinPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+\.conf$`)
)

func (c *checker) units(units []Unit) {
	names := seen{}
	for i, u := range units {
		at := report.Path("spec.units").Index(i)
		if c.match(at.Field("name"), u.Name, unitPattern, "the name of a systemd unit") {
			c.unique(names, at.Field("name"), u.Name)
		}
		if u.Source != "" {
			c.source(at.Field("source"), u.Source)
		} else if !u.Enabled && len(u.Dropins) == 0 {
			c.add(at, "the entry changes nothing", "enable the unit, or give it a source or drop-ins")
		}
		dropins := seen{}
		for j, d := range u.Dropins {
			dropin := at.Field("dropins").Index(j)
			if c.match(dropin.Field("name"), d.Name, dropinPattern, "the name of a drop-in, which ends in .conf") {
				c.unique(dropins, dropin.Field("name"), d.Name)
			}
			c.source(dropin.Field("source"), d.Source)
		}
	}
}

func (c *checker) files(s Spec) {
	paths := seen{}
	for i, m := range s.Modules {
		for j, p := range m.Programs {
			if p.Path != "" {
				c.unique(paths, report.Path("spec.modules").Index(i).Field("programs").Index(j).Field("path"), p.Path)
			}
		}
	}
	for i, d := range s.Downloads {
		if d.Path != "" {
			c.unique(paths, report.Path("spec.downloads").Index(i).Field("path"), d.Path)
		}
	}
	for i, f := range s.Files {
		at := report.Path("spec.files").Index(i)
		if c.absolute(at.Field("path"), f.Path) {
			c.unique(paths, at.Field("path"), f.Path)
			c.allowedPath(at.Field("path"), f)
		}
		c.content(at, f)
		if f.Symlink != "" && f.Mode != 0 {
			c.add(at.Field("mode"), "a symbolic link has no mode", "remove it")
		} else {
			c.mode(at.Field("mode"), f.Mode)
		}
	}
}

// content checks that a file has exactly one kind of content.
func (c *checker) content(at report.Path, f File) {
	set := 0
	for _, is := range []bool{f.Contents != "", f.Source != "", f.Symlink != "", f.Directory} {
		if is {
			set++
		}
	}
	if set != 1 {
		message := "has none of contents, source, symlink and directory"
		if set > 1 {
			message = "has more than one of contents, source, symlink and directory"
		}
		c.add(at, message, "set exactly one")
	}
	if f.Source != "" {
		c.source(at.Field("source"), f.Source)
	}
	if strings.ContainsAny(f.Symlink, "\n\x00") {
		c.add(at.Field("symlink"), fmt.Sprintf("%q is not a path", f.Symlink), "")
	}
}

func (c *checker) mode(at report.Path, mode uint32) {
	switch {
	case mode > 0o7777:
		c.add(at, fmt.Sprintf("%#o is not a file mode", mode), "use at most 07777")
	case mode&0o002 != 0 && mode&0o1000 == 0:
		c.add(at, fmt.Sprintf("%#o lets every user write", mode), "remove the last digit's 2")
	}
}

// mountedOver are folders on which the running system mounts others, so that
// what an image has below them is never seen.
var mountedOver = []string{"/dev", "/proc", "/run", "/sys", "/tmp"}

// forbiddenPaths are paths that no image may hold, and why.
var forbiddenPaths = []struct{ path, why, remedy string }{
	{"/etc/kubernetes/pki", "keys and certificates belong to a node, not to an image", "package butane delivers them on first boot"},
	{"/etc/kubernetes/manifests", "kubeadm reset empties this folder", "let kubeadm write its manifests"},
	{"/etc/kubernetes/kubelet.conf", "kubeadm join refuses to run if it exists", "remove it"},
	{"/etc/kubernetes/bootstrap-kubelet.conf", "kubeadm join refuses to run if it exists", "remove it"},
	{"/etc/machine-id", "it belongs to a machine, not to an image", "remove it: the builder writes one that is not initialized"},
}

func (c *checker) allowedPath(at report.Path, f File) {
	for _, folder := range mountedOver {
		if strings.HasPrefix(f.Path, folder+"/") {
			c.add(at, fmt.Sprintf("%s is mounted over at boot", folder), "make it with a tmpfiles.d entry or a unit")
		}
	}
	for _, forbidden := range forbiddenPaths {
		if (f.Path == forbidden.path && !f.Directory) || strings.HasPrefix(f.Path, forbidden.path+"/") {
			c.add(at, forbidden.why, forbidden.remedy)
		}
	}
}
