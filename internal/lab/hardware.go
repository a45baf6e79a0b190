package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/k8snode/k8snode/internal/qemu"
)

// QEMUOptions describe a machine. Without media it is a computer with an empty
// disk that boots from its network.
type QEMUOptions struct {
	// Name of the machine.
	Name string
	// Dir receives the disk, the firmware's settings, the console and the
	// emulator's log. It must exist; a disk in it is used as it is.
	Dir string
	// MemoryMiB is 4096 by default.
	MemoryMiB int
	// CPUs is 2 by default, the least that kubeadm accepts.
	CPUs int
	// Accelerator is [qemu.TCG] by default.
	Accelerator qemu.Accelerator
	// Firmware is [qemu.UEFI] by default.
	Firmware qemu.Firmware

	// Card says what the network card is plugged into, [OnBridge] by default.
	Card Card
	// MAC address of the card, unless there is none.
	MAC string
	// MoreMACs are those of further cards beside one that is [Alone].
	MoreMACs []string

	// DiskGiB is 24 by default, and a negative number is a machine without a
	// disk; the file is sparse.
	DiskGiB int
	// Image is a raw disk image that the disk begins as. It is never changed:
	// the disk is an overlay.
	Image string
	// SectorSize of the disk is 512 by default.
	SectorSize int
	// CDROM and USB are images that are only read, for instance of an ISO.
	CDROM, USB string
	// Kernel is started without a boot loader.
	Kernel qemu.Kernel
	// Config is the path of an Ignition config that the guest finds in its
	// firmware's configuration device.
	Config string
	// Boot is the order of [qemu.Hardware].
	Boot []qemu.Device
}

// A Card is a kind of network.
type Card string

// The cards.
const (
	// OnBridge is a card on the bridge of the lab's network.
	OnBridge Card = "bridge"
	// Alone is a card on a network of the emulator's own, which answers DHCP
	// and leads nowhere.
	Alone Card = "alone"
	// NoCard is a machine without one.
	NoCard Card = "none"
)

func (o QEMUOptions) withDefaults() QEMUOptions {
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 4096
	}
	if o.CPUs == 0 {
		o.CPUs = 2
	}
	if o.DiskGiB == 0 {
		o.DiskGiB = 24
	}
	if o.Accelerator == "" {
		o.Accelerator = qemu.TCG
	}
	if o.Firmware == "" {
		o.Firmware = qemu.UEFI
	}
	if o.Card == "" {
		o.Card = OnBridge
	}
	return o
}

// check says what is wrong with the options.
func (o QEMUOptions) check() error {
	if !isName(o.Name) {
		return errors.New("its name must consist of lower-case letters, digits and inner hyphens")
	}
	switch o.Card {
	case NoCard:
	case OnBridge, Alone:
		if mac, err := net.ParseMAC(o.MAC); err != nil || len(mac) != 6 {
			return fmt.Errorf("%q is not the MAC address of an Ethernet interface", o.MAC)
		}
	default:
		return fmt.Errorf("card %q is none of %s, %s and %s", o.Card, OnBridge, Alone, NoCard)
	}
	if len(o.MoreMACs) > 0 && o.Card != Alone {
		return errors.New("a machine with several cards is alone")
	}
	if o.DiskGiB < 0 && o.Image != "" {
		return errors.New("a disk that begins as an image has a size")
	}
	return o.Firmware.Check(qemu.Host())
}

// hardware is the machine; its files are in dir, an absolute path, and its
// sockets in sockets, which is short.
func (o QEMUOptions) hardware(dir, sockets string) qemu.Hardware {
	hw := qemu.Hardware{
		Name:        o.Name,
		MemoryMiB:   o.MemoryMiB,
		CPUs:        o.CPUs,
		Accelerator: o.Accelerator,
		Firmware:    o.Firmware,
		CDROM:       o.CDROM,
		USB:         o.USB,
		Kernel:      o.Kernel,
		Boot:        o.Boot,
		Console:     qemu.Console{File: filepath.Join(dir, "console.log")},
		QMP:         filepath.Join(sockets, o.Name+".qmp"),
		Port:        qemu.Port{Name: GuestPort, Socket: filepath.Join(sockets, o.Name+".port")},
	}
	if o.Firmware == qemu.UEFI {
		hw.FirmwareVars = filepath.Join(dir, "firmware-vars.fd")
	}
	switch {
	case o.DiskGiB < 0:
	case o.Image != "":
		hw.Disk = qemu.Disk{Path: filepath.Join(dir, "disk.qcow2"), Format: "qcow2", SectorSize: o.SectorSize}
	default:
		hw.Disk = qemu.Disk{Path: filepath.Join(dir, "disk.raw"), SectorSize: o.SectorSize}
	}
	if o.Card != NoCard {
		hw.Network.MAC, hw.Network.MoreMACs = o.MAC, o.MoreMACs
	}
	if o.Config != "" {
		hw.Files = []qemu.File{{Name: qemu.IgnitionFile, Path: o.Config}}
	}
	return hw
}

// NewQEMU plugs a machine into the network and makes its disk, unless it has
// one. It does not start it.
func NewQEMU(ctx context.Context, n *Network, opts QEMUOptions) (*QEMU, error) {
	m, err := newQEMU(ctx, n, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("making machine %q: %w", opts.Name, err)
	}
	return m, nil
}

func newQEMU(ctx context.Context, n *Network, opts QEMUOptions) (*QEMU, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	for _, path := range []*string{&opts.Dir, &opts.Image, &opts.CDROM, &opts.USB, &opts.Config, &opts.Kernel.Path, &opts.Kernel.Initrd} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = abs
	}
	// The sockets are beside the network's record: their paths must be short.
	hw := opts.hardware(opts.Dir, n.StateDir())
	if hw.FirmwareVars != "" {
		if err := copyOnce(hw.FirmwareVars, qemu.FirmwareVars); err != nil {
			return nil, fmt.Errorf("copying the firmware's settings: %w", err)
		}
	}
	if hw.Disk.Path != "" {
		if err := makeDisk(ctx, hw.Disk.Path, opts.Image, int64(opts.DiskGiB)<<30); err != nil {
			return nil, fmt.Errorf("making the disk: %w", err)
		}
	}
	if opts.Card == OnBridge {
		tap, err := n.AddTap(ctx)
		if err != nil {
			return nil, err
		}
		hw.Network.Tap = tap
	}
	return &QEMU{
		network: n,
		hw:      hw,
		log:     filepath.Join(opts.Dir, "qemu.log"),
		guest:   NewGuest(Socket(hw.Port.Socket)),
	}, nil
}

// makeDisk makes an empty disk, or an overlay over an image, unless the file
// exists.
func makeDisk(ctx context.Context, path, image string, size int64) error {
	if image == "" {
		return sparseOnce(path, size)
	}
	info, err := os.Stat(image)
	if err != nil {
		return err
	}
	if info.Size() > size {
		return fmt.Errorf("%s has %d bytes, the disk %d", image, info.Size(), size)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return run(ctx, qemu.ImageProgram, qemu.Overlay(path, image, size)...)
}

// run executes a program of the host; the error carries what it said.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running \"%s %s\": %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// copyOnce copies a file unless the target exists.
func copyOnce(target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// sparseOnce makes a file of zeros that uses no space, unless it exists.
func sparseOnce(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}
