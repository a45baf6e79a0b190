package verify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/images"
)

// initramfs checks the first initramfs, with which all others are compared,
// and the release of the kernel beside it.
func (v *verifier) initramfs() {
	if len(v.kernels) > 0 {
		p := v.kernels[0]
		v.now("kernel", p.artifact, func() error {
			release, err := kernelRelease(p.r)
			if err == nil && release != v.m.Kernel {
				err = fmt.Errorf("%s is of release %s, and the manifest says %s", p.subject(), release, v.m.Kernel)
			}
			return err
		})
	}
	if len(v.initrds) == 0 {
		return
	}
	p := v.initrds[0]
	v.later("initramfs", p.artifact, func() error {
		c := initramfsCheck{v: v, p: p, found: map[string]bool{}}
		if err := readInitramfs(v.ctx, io.NewSectionReader(p.r, 0, p.size), c.entry); err != nil {
			return fmt.Errorf("reading %s: %w", c.subject(), err)
		}
		c.missing()
		return nil
	})
}

// initramfsCheck looks at the files of an initramfs.
type initramfsCheck struct {
	v     *verifier
	p     piece
	found map[string]bool
}

// Programs that start and install a machine.
const (
	ignitionPath = "usr/bin/ignition"
	agentPath    = "usr/bin/k8snode-agent"
)

func (c initramfsCheck) entry(name string, content io.Reader) error {
	name = usrMerged(name)
	switch {
	case name == ignitionPath:
		c.found[name] = true
	case name == agentPath:
		c.found[name] = true
		return c.agent(content)
	case "/"+name == images.ImageKeysPath:
		c.found[images.ImageKeysPath] = true
		return c.imageKeys(content)
	case strings.HasPrefix(name, "usr/lib/modules/"):
		release, rest, _ := strings.Cut(strings.TrimPrefix(name, "usr/lib/modules/"), "/")
		if release != c.v.m.Kernel && !c.found[release] {
			c.v.add(c.p.artifact, bakeAgain, "%s has modules of the kernel %s, and the kernel is %s", c.subject(), release, c.v.m.Kernel)
		}
		c.found[release] = true
		if rest == "modules.dep" {
			c.found[name] = true
		}
	case strings.HasPrefix(name, "etc/ssh/ssh_host_"), path.Base(name) == "authorized_keys":
		c.v.add(c.p.artifact, remedySecrets, "%s has /%s", c.subject(), name)
	}
	return nil
}

// agent compares the agent with that of the manifest's inputs.
func (c initramfsCheck) agent(content io.Reader) error {
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return unexpected(err)
	}
	got := "sha256:" + hex.EncodeToString(h.Sum(nil))
	for _, in := range c.v.m.Inputs {
		if in.Source == sbom.SourceFile && in.Name == path.Base(agentPath) && in.Digest != got {
			c.v.add(c.p.artifact, bakeAgain, "%s has another agent than the manifest: %s, not %s", c.subject(), got, in.Digest)
		}
	}
	return nil
}

// imageKeys compares the keys that the installer wants images to be signed with
// those of the recipe.
func (c initramfsCheck) imageKeys(content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return unexpected(err)
	}
	if got, want := strings.Fields(string(b)), c.v.recipe.Spec.ImageKeys; !slices.Equal(got, want) {
		c.v.add(c.p.artifact, bakeAgain, "%s has other keys in %s than the recipe: %q, not %q", c.subject(), images.ImageKeysPath, got, want)
	}
	return nil
}

func (c initramfsCheck) missing() {
	if len(c.v.recipe.Spec.ImageKeys) > 0 && !c.found[images.ImageKeysPath] {
		c.v.add(c.p.artifact, bakeAgain, "%s has no %s: its installer would take unsigned images", c.subject(), images.ImageKeysPath)
	}
	for _, name := range []string{ignitionPath, agentPath, "usr/lib/modules/" + c.v.m.Kernel + "/modules.dep"} {
		if !c.found[name] {
			c.v.add(c.p.artifact, bakeAgain, "%s has no /%s", c.subject(), name)
		}
	}
}

func (c initramfsCheck) subject() string {
	if c.p.what == "" {
		return "the initramfs"
	}
	return c.p.what
}

// usrMerged returns the name of a file with the folders below /usr that the
// links of a merged /usr lead to.
func usrMerged(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "."), "/")
	for _, dir := range []string{"bin/", "sbin/", "lib/", "lib64/"} {
		if strings.HasPrefix(name, dir) {
			return "usr/" + name
		}
	}
	return name
}

// Constants of the "newc" format, from the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst.
const (
	cpioMagic   = "070701"
	cpioHeader  = 110
	cpioSize    = 6 + 6*8 // offset of c_filesize
	cpioName    = 6 + 11*8
	cpioTrailer = "TRAILER!!!"
	cpioMaxName = 4096
)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd} //nolint:gochecknoglobals // constant

// readInitramfs visits the files of an initramfs as the kernel unpacks it:
// archives one after another, each as it is or compressed with zstd, and zeros
// between them.
func readInitramfs(ctx context.Context, r io.Reader, visit func(name string, content io.Reader) error) error {
	in := bufio.NewReaderSize(r, chunkSize)
	for {
		magic, err := in.Peek(len(cpioMagic))
		switch {
		case len(magic) == 0 && errors.Is(err, io.EOF):
			return nil
		case len(magic) > 0 && magic[0] == 0:
			if _, err := in.Discard(1); err != nil {
				return err
			}
		case string(magic) == cpioMagic:
			if err := readCPIO(ctx, in, visit); err != nil {
				return err
			}
		case bytes.HasPrefix(magic, zstdMagic):
			// What follows a compressed archive is read by the decoder.
			d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
			if err != nil {
				return err
			}
			defer d.Close()
			return readInitramfs(ctx, d, visit)
		case err != nil && !errors.Is(err, io.EOF):
			return err
		default:
			return fmt.Errorf("neither a cpio archive nor one compressed with zstd begins with %x", magic)
		}
	}
}

// readCPIO visits the files of one archive.
func readCPIO(ctx context.Context, in *bufio.Reader, visit func(name string, content io.Reader) error) error {
	header := make([]byte, cpioHeader)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(in, header); err != nil {
			return unexpected(err)
		}
		size, err1 := strconv.ParseUint(string(header[cpioSize:cpioSize+8]), 16, 32)
		length, err2 := strconv.ParseUint(string(header[cpioName:cpioName+8]), 16, 32)
		if err := errors.Join(err1, err2); err != nil || string(header[:6]) != cpioMagic || length == 0 || length > cpioMaxName {
			return errors.New("damaged header in a cpio archive")
		}
		name := make([]byte, length+pad4(cpioHeader+length))
		if _, err := io.ReadFull(in, name); err != nil {
			return unexpected(err)
		}
		name = name[:length-1]
		content := &io.LimitedReader{R: in, N: int64(size)}
		if string(name) != cpioTrailer {
			if err := visit(string(name), content); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(io.Discard, in, content.N+int64(pad4(size))); err != nil {
			return unexpected(err)
		}
		if string(name) == cpioTrailer {
			return nil
		}
	}
}

func pad4(n uint64) uint64 { return -n & 3 }
