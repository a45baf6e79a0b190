package ha

import (
	"bytes"
	"context"
	_ "embed" // for the unit
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/guestconfig"
	"github.com/k8snode/k8snode/internal/lab/ipxe"
	"github.com/k8snode/k8snode/internal/lab/kube"
	"github.com/k8snode/k8snode/provision/cpio"
)

//go:embed cni.service
var cniUnit string

// firmware is that of one machine that boots from the network, while it has power.
type firmware struct {
	off  context.CancelFunc
	done chan struct{}
	// err is set when done is closed.
	err error
}

// start starts a machine, by its firmware if it has one.
func (c *Cluster) start(ctx context.Context, name string) error {
	if !c.opts.Netboot {
		return c.machines[name].Start(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.firmware[name]; f != nil && f.err == nil {
		select {
		case <-f.done:
		default:
			return fmt.Errorf("starting machine %s: it is running", name)
		}
	}
	on, off := context.WithCancel(context.WithoutCancel(ctx))
	f := &firmware{off: off, done: make(chan struct{})}
	c.firmware[name] = f
	go func() {
		defer close(f.done)
		if err := c.runFirmware(on, name); on.Err() == nil {
			f.err = fmt.Errorf("the firmware of %s: %w", name, err)
		}
	}()
	return nil
}

// stop cuts the power.
func (c *Cluster) stop(ctx context.Context, name string) error {
	c.mu.Lock()
	f := c.firmware[name]
	delete(c.firmware, name)
	c.mu.Unlock()
	if f == nil {
		return c.machines[name].PowerOff(ctx)
	}
	f.off()
	// It may be just about to start the system.
	for {
		if err := c.machines[name].PowerOff(ctx); err != nil {
			return err
		}
		select {
		case <-f.done:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// firmwareEnded says why a machine that has power does nothing any more.
func (c *Cluster) firmwareEnded(name string) error {
	c.mu.Lock()
	f := c.firmware[name]
	c.mu.Unlock()
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
		return f.err
	default:
		return nil
	}
}

// runFirmware boots a machine again and again: from the network first, then from its
// disk. It ends with the power.
func (c *Cluster) runFirmware(ctx context.Context, name string) error {
	console, err := os.OpenFile(c.path(filepath.Join(name, "firmware.log")), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	for ctx.Err() == nil {
		if err := c.bootOnce(ctx, name, console); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// bootOnce is from the self test to the next reset.
func (c *Cluster) bootOnce(ctx context.Context, name string, console io.Writer) error {
	n, _ := c.Spec.Node(name)
	boot, err := c.askServer(ctx, n, console)
	if err != nil {
		fmt.Fprintln(console, "network boot:", err)
	}
	loaded := false
	if err == nil && boot.Kernel != "" {
		loaded, err = true, c.loadInstaller(name, boot)
	} else {
		loaded, err = c.loadDisk(name)
	}
	if err != nil {
		return err
	}
	if !loaded {
		fmt.Fprintln(console, "no bootable device")
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
		return nil
	}
	m := c.machines[name]
	if ctx.Err() != nil {
		return nil
	}
	if err := m.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-m.Exited()
	return nil
}

// askServer follows the server's scripts. As the machine is off, its address is taken
// for as long.
func (c *Cluster) askServer(ctx context.Context, n cluster.Node, console io.Writer) (ipxe.Boot, error) {
	address := netip.PrefixFrom(n.IP(), 32).String()
	ip := func(verb string) error {
		_, err := kube.Run(c.network.Command(context.WithoutCancel(ctx), "ip", "address", verb, address, "dev", "lo"), "ip address "+verb)
		return err
	}
	if err := ip("add"); err != nil {
		return ipxe.Boot{}, err
	}
	dial := func(ctx context.Context, network, to string) (conn net.Conn, err error) {
		err = c.network.Do(func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: n.IP().AsSlice()}}
			conn, err = d.DialContext(ctx, network, to)
			return err
		})
		return conn, err
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	boot, err := ipxe.Run(ctx, ipxe.Options{
		Client: &http.Client{Transport: transport}, URL: c.httpURL() + "/boot.ipxe",
		MAC: strings.ReplaceAll(n.MAC, ":", "-"), Console: console,
	})
	return boot, errors.Join(err, ip("del"))
}

func (c *Cluster) httpURL() string {
	p := c.Spec.Spec.Provision
	return fmt.Sprintf("http://%s:%d", p.Address, p.HTTPPort)
}

// loadInstaller loads what a script names, and what this kind of machine needs besides.
func (c *Cluster) loadInstaller(name string, boot ipxe.Boot) error {
	more, err := overlay()
	if err != nil {
		return err
	}
	var initrd bytes.Buffer
	var cmdline []string
	for _, arg := range boot.Arguments {
		file, is := strings.CutPrefix(arg, "initrd=")
		if !is {
			cmdline = append(cmdline, arg)
			continue
		}
		content, ok := boot.Files[file]
		if !ok {
			return fmt.Errorf("the script of %s has no initrd %s", name, file)
		}
		initrd.Write(content)
		initrd.Write(make([]byte, -initrd.Len()&3))
	}
	initrd.Write(more)
	// What is on the disk afterwards.
	id, _, _ := strings.Cut(strings.TrimPrefix(boot.Kernel, c.httpURL()+"/artifacts/"), "/")
	path := c.initrd(name)
	if err := errors.Join(os.WriteFile(path, initrd.Bytes(), 0o600), os.WriteFile(path+".image", []byte(id), 0o600)); err != nil {
		return err
	}
	return c.machines[name].Load(path, strings.Join(cmdline, " "))
}

// loadDisk does what the loader on the disk would, if there is one.
func (c *Cluster) loadDisk(name string) (loaded bool, err error) {
	if ok, err := bootable(c.disk(name)); err != nil || !ok {
		return false, err
	}
	id, err := os.ReadFile(c.initrd(name) + ".image")
	if err != nil {
		return false, err
	}
	folder, manifest, err := c.imageOf(string(id))
	if err != nil {
		return false, err
	}
	base, err := c.baseConfig()
	if err != nil {
		return false, err
	}
	archive, err := overlay(cpio.File{Path: baseFile, Mode: 0o600, Data: base})
	if err != nil {
		return false, err
	}
	if err := writeInitrd(c.initrd(name), filepath.Join(folder, images.InitrdFile), archive); err != nil {
		return false, err
	}
	return true, c.machines[name].Load(c.initrd(name), manifest.Cmdline)
}

// bootable reports whether a disk has a partition table that firmware believes.
func bootable(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 1024)
	if _, err := io.ReadFull(f, head); err != nil {
		return false, err
	}
	return bytes.Equal(head[510:520], append([]byte{0x55, 0xaa}, "EFI PART"...)), nil
}

// imageOf finds an image by its ID.
func (c *Cluster) imageOf(id string) (folder string, m images.Manifest, err error) {
	for _, folder := range append([]string{c.opts.Image}, c.opts.MoreImages...) {
		m, err := images.OpenManifest(folder)
		if err != nil {
			return "", images.Manifest{}, err
		}
		if m.ID == id {
			return folder, m, nil
		}
	}
	return "", images.Manifest{}, fmt.Errorf("there is no image %s", id)
}

// baseConfig is what Ignition merges with the config that the server gives: how the
// guest answers, and what its kernel lacks.
func (c *Cluster) baseConfig() ([]byte, error) {
	config := guestconfig.Answering(lab.UMLPort).With(firewallFile())
	config.Systemd.Units = append(slices.Clone(config.Systemd.Units),
		guestconfig.Unit{Name: "k8snode-lab-kernel.service", Enabled: true, Contents: kernelUnit},
		guestconfig.Unit{Name: "k8snode-lab-cni.service", Enabled: true, Contents: cniUnit},
	)
	return config.Marshal()
}
