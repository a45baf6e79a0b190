package ha

import (
	"bytes"
	_ "embed" // for the units
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/guestconfig"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/cpio"
)

var (
	//go:embed initramfs/usr-lib-modules.mount
	modulesUnit string
	//go:embed initramfs/sysroot-usr-lib-modules.mount
	sysrootModulesUnit string
	//go:embed initramfs/k8snode-lab-base.service
	baseUnit string
	//go:embed kernel.service
	kernelUnit string
	//go:embed firewall.conf
	firewallDropin string
)

// nodeConfig is a rendered node that answers to the lab. It has no server to
// report to: without a usable report configuration it does not wait for one.
func nodeConfig(rendered []byte) ([]byte, error) {
	c := guestconfig.Answering(lab.UMLPort).With(guestconfig.NewFile(api.ReportPath, 0o600, "{}\n"))
	cni, err := withoutMasquerade(rendered)
	if err != nil {
		return nil, err
	}
	c = c.With(cni, firewallFile())
	c.Systemd.Units = append(c.Systemd.Units, guestconfig.Unit{Name: "k8snode-lab-kernel.service", Enabled: true, Contents: kernelUnit})
	more, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	return guestconfig.Merge(rendered, more)
}

// firewallFile leaves the firewall out.
func firewallFile() guestconfig.File {
	return guestconfig.NewFile("/etc/systemd/system/k8snode-firewall.service.d/20-lab.conf", 0o644, firewallDropin)
}

// cniFile is the network of pods, as package butane writes it.
const cniFile = "/etc/cni/net.d/10-k8snode.conflist"

// withoutMasquerade is the network of pods for a kernel that translates no
// addresses.
func withoutMasquerade(rendered []byte) (guestconfig.File, error) {
	f, content, err := fileOf(rendered, cniFile)
	if err != nil {
		return guestconfig.File{}, err
	}
	changed := masquerade.ReplaceAllString(string(content), "${1}false")
	if changed == string(content) {
		return guestconfig.File{}, fmt.Errorf("%s of the rendered config has no ipMasq: %s", cniFile, content)
	}
	return guestconfig.NewFile(cniFile, f.Mode, changed), nil
}

// fileOf finds a file in a rendered config.
func fileOf(rendered []byte, path string) (guestconfig.File, []byte, error) {
	var c guestconfig.Config
	if err := json.Unmarshal(rendered, &c); err != nil {
		return guestconfig.File{}, nil, fmt.Errorf("reading the rendered config: %w", err)
	}
	for _, f := range c.Storage.Files {
		if f.Path != path {
			continue
		}
		content, err := f.Contents.Content()
		if err != nil {
			return guestconfig.File{}, nil, fmt.Errorf("reading %s of the rendered config: %w", path, err)
		}
		return f, content, nil
	}
	return guestconfig.File{}, nil, fmt.Errorf("the rendered config has no %s", path)
}

var masquerade = regexp.MustCompile(`("ipMasq": *)true`)

// The files of the initramfs that hold a node's config, and one that is merged with it.
const (
	configFile = "/etc/k8snode/user.ign"
	baseFile   = "/etc/k8snode/lab-base.ign"
)

// overlay is what the initramfs of a machine has besides the image's.
func overlay(config ...cpio.File) ([]byte, error) {
	const units = "/etc/systemd/system/"
	pull := func(target, unit string) cpio.File {
		return cpio.File{
			Path: units + target + ".d/k8snode-lab.conf", Mode: 0o644,
			Data: fmt.Appendf(nil, "[Unit]\nRequires=%s\n", unit),
		}
	}
	return cpio.Archive(append(config,
		cpio.File{Path: units + "k8snode-lab-base.service", Mode: 0o644, Data: []byte(baseUnit)},
		pull("basic.target", "k8snode-lab-base.service"),
		cpio.File{Path: units + "usr-lib-modules.mount", Mode: 0o644, Data: []byte(modulesUnit)},
		cpio.File{Path: units + "sysroot-usr-lib-modules.mount", Mode: 0o644, Data: []byte(sysrootModulesUnit)},
		pull("sysinit.target", "usr-lib-modules.mount"),
		pull("initrd-root-fs.target", "sysroot-usr-lib-modules.mount"),
	)...)
}

// writeInitrd writes the image's initramfs with an archive behind it.
func writeInitrd(path, image string, archive []byte) error {
	in, err := os.Open(image)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err == nil {
		// An archive begins at a multiple of four.
		_, err = out.Write(append(bytes.Repeat([]byte{0}, int(-n&3)), archive...))
	}
	return errors.Join(err, out.Close())
}
