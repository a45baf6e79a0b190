package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/images"
)

// A piece is a kernel, an initramfs or a root, somewhere in an artifact.
type piece struct {
	// artifact and what say where it is.
	artifact, what string
	r              io.ReaderAt
	size           int64
	// padded says that zeros up to a whole sector belong to size.
	padded bool
	// file and offset are where it is in a file of the host, if it is in one
	// range.
	file   string
	offset int64
}

// String names the piece in a finding about another artifact.
func (p piece) String() string {
	if p.what == "" {
		return p.artifact
	}
	return p.what + " of " + p.artifact
}

// subject names the piece in a finding about its own artifact.
func (p piece) subject() string {
	if p.what == "" {
		return "it"
	}
	return p.what
}

// osRelease is a copy of /usr/lib/os-release.
type osRelease struct{ artifact, text string }

// pxe takes the pieces of a network boot, which are files. They come first:
// the others are compared with them.
func (v *verifier) pxe() {
	for name, list := range map[string]*[]piece{images.KernelFile: &v.kernels, images.InitrdFile: &v.initrds, images.RootFile: &v.roots} {
		if !v.exists(name) {
			continue
		}
		v.now("network boot", name, func() error {
			f, err := v.open(v.file(name))
			if err != nil {
				return err
			}
			st, err := f.Stat()
			if err != nil {
				return err
			}
			*list = append([]piece{{artifact: name, r: f, size: st.Size(), file: f.Name()}}, *list...)
			return nil
		})
	}
	if v.exists(images.IPXEFile) {
		v.now("network boot", images.IPXEFile, func() error { return checkEFI(v.file(images.IPXEFile)) })
	}
}

// isos checks the live ISO and the installer.
func (v *verifier) isos() {
	label := iso.Label(v.m.ID)
	v.iso(images.ISOFile, iso.Check, label, images.LiveCmdline(v.m.Root, "label:"+label, v.recipe.Spec.Kernel.Arguments))
	label = iso.InstallerLabel(v.m.ID)
	v.iso(images.InstallerFile, iso.CheckInstaller, label, images.InstallerCmdline(label))
}

func (v *verifier) iso(artifact string, check func(string) error, label, cmdline string) {
	if !v.exists(artifact) {
		return
	}
	v.now("ISO", artifact, func() error { return check(v.file(artifact)) })
	v.now("ISO", artifact, func() error {
		image, err := iso.Open(v.file(artifact))
		if err != nil {
			return errReported // check said it
		}
		v.opened = append(v.opened, image)
		if image.Label != label {
			v.add(artifact, bakeAgain, "its label is %q, and the command line looks for %q", image.Label, label)
		}
		for name, list := range map[string]*[]piece{iso.KernelPath: &v.kernels, iso.InitrdPath: &v.initrds, strings.TrimPrefix(images.MediumRoot, "/"): &v.roots} {
			r, size, err := openAt(image, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			*list = append(*list, piece{artifact: artifact, what: "/" + name, r: r, size: size})
		}
		return v.checkGRUB(image, iso.ConfigPath, artifact, cmdline, nil)
	})
}

// copies compares every piece with the first of its kind.
func (v *verifier) copies() {
	for _, list := range [][]piece{v.kernels, v.initrds, v.roots} {
		for _, p := range list[min(1, len(list)):] {
			first := list[0]
			v.later("same bytes", p.artifact, func() error { return v.compare(first, p) })
		}
	}
}

func (v *verifier) compare(first, p piece) error {
	size := p.size
	if p.padded {
		if size = first.size; (size+511)/512*512 != p.size {
			size = -1
		}
	}
	if size != first.size {
		v.add(p.artifact, bakeAgain, "%s has %d bytes, and %s has %d", p.subject(), p.size, first, first.size)
		return nil
	}
	err := same(v.ctx, first.r, p.r, size)
	var differ errDiffer
	if errors.As(err, &differ) {
		v.add(p.artifact, copyAgain, "%s is not %s: they differ at byte %d", p.subject(), first, differ.at)
		return nil
	}
	if err != nil {
		return fmt.Errorf("comparing %s with %s: %w", p.subject(), first, err)
	}
	return nil
}
