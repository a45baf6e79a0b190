package qemu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Device is something that firmware can boot from.
type Device string

// The devices.
const (
	DeviceNetwork Device = "network"
	DeviceCDROM   Device = "cdrom"
	DeviceUSB     Device = "usb"
	DeviceDisk    Device = "disk"
)

// Hardware is a machine as QEMU sees it; all paths are absolute. What is empty
// is not there.
type Hardware struct {
	Name        string
	MemoryMiB   int
	CPUs        int
	Accelerator Accelerator
	Firmware    Firmware
	// FirmwareVars is the machine's own copy of [FirmwareVars], for [UEFI]:
	// the firmware writes to it.
	FirmwareVars string
	Disk         Disk
	// CDROM and USB are images that the machine reads only.
	CDROM string
	USB   string
	// Kernel is started without a boot loader.
	Kernel  Kernel
	Network Network
	// Files are handed to the guest through the firmware's configuration
	// device, in this order.
	Files []File
	// Boot is the order in which devices are tried; by default network, cdrom,
	// usb, disk.
	Boot    []Device
	Console Console
	// QMP is the path of a Unix socket.
	QMP string
	// Port is a serial port of the guest beside the console.
	Port Port
}

// Disk is the machine's own; it has none without a path.
type Disk struct {
	Path string
	// Format is raw by default, and qcow2 for an overlay.
	Format string
	// SectorSize is that of the disk's logical and physical sectors; zero is
	// QEMU's own, 512.
	SectorSize int
}

// Kernel is what -kernel, -initrd and -append want.
type Kernel struct {
	Path    string
	Initrd  string
	Cmdline string
}

// Network is what the machine's network card is plugged into; the zero value is a
// machine without one.
type Network struct {
	MAC string
	// MoreMACs are those of further cards, on the same network that QEMU makes:
	// where there is a tap, there is one card.
	MoreMACs []string
	// Tap is an interface of the host. With a MAC and without a tap the card
	// is on a network that QEMU makes, which answers DHCP and leads nowhere.
	Tap string
}

// IgnitionFile is the name of the file that holds an Ignition config.
const IgnitionFile = "opt/com.coreos/config"

// File is a file of the firmware's configuration device.
type File struct {
	// Name is that in the guest, below
	// /sys/firmware/qemu_fw_cfg/by_name; those of users begin with "opt/".
	Name string
	Path string
}

// Port is a serial port of the guest, /dev/virtio-ports/NAME, whose other end
// is a Unix socket that QEMU listens on.
type Port struct {
	Name   string
	Socket string
}

// Console is where the machine's serial line ends. The zero value is a file
// with the empty name, which QEMU refuses.
type Console struct {
	// File is appended to.
	File string
	// Stream is the standard input and output of QEMU, in place of a file.
	Stream Stream
}

// Stream is what QEMU's standard input and output are.
type Stream string

// The streams.
const (
	// Terminal is one that QEMU takes over: every key goes to the guest,
	// except Ctrl-A and the key after it.
	Terminal Stream = "terminal"
	// Plain is anything else: Ctrl-C ends QEMU.
	Plain Stream = "plain"
)

// Args are the arguments of [Program]. There is no -no-reboot: a reboot of the
// guest is one of the machine. The network card has an option ROM only where it
// is of use: OVMF brings its own PXE, and from a network that leads nowhere
// nothing boots.
func (h Hardware) Args() []string {
	accelerator, cpu := "tcg,thread=multi,tb-size=1024", "max"
	if h.Accelerator == KVM {
		accelerator, cpu = "kvm", "host"
	}
	return slices.Concat(
		[]string{
			"-name", quote(h.Name),
			"-machine", h.machine(),
			"-accel", accelerator,
			"-cpu", cpu,
			"-smp", strconv.Itoa(h.CPUs),
			"-m", strconv.Itoa(h.MemoryMiB),
			"-no-user-config",
			"-nodefaults",
			"-display", "none",
		},
		h.firmwareArgs(),
		h.Console.args(),
		h.controlArgs(),
		h.networkArgs(),
		h.diskArgs(),
		h.mediaArgs(),
		h.kernelArgs(),
		h.fileArgs(),
		[]string{
			"-object", "rng-random,id=rng0,filename=/dev/urandom",
			"-device", "virtio-rng-pci,rng=rng0",
		},
	)
}

// machine turns graphics off under BIOS: SeaBIOS then writes what a boot
// loader prints to the serial line.
func (h Hardware) machine() string {
	if h.Firmware == BIOS {
		return "q35,graphics=off"
	}
	return "q35"
}

func (h Hardware) firmwareArgs() []string {
	if h.Firmware == BIOS {
		return nil
	}
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + FirmwareCode,
		"-drive", "if=pflash,unit=1,format=raw,file=" + quote(h.FirmwareVars),
	}
}

func (c Console) args() []string {
	var backend string
	switch c.Stream {
	case Terminal:
		return []string{
			"-chardev", "stdio,id=console,mux=on,signal=off",
			"-serial", "chardev:console",
			"-mon", "chardev=console",
		}
	case Plain:
		backend = "stdio,id=console"
	default:
		backend = "file,id=console,append=on,path=" + quote(c.File)
	}
	return []string{"-chardev", backend, "-serial", "chardev:console"}
}

func (h Hardware) controlArgs() []string {
	var args []string
	if h.QMP != "" {
		args = append(args, "-qmp", "unix:"+quote(h.QMP)+",server=on,wait=off")
	}
	if h.Port.Name != "" {
		args = append(args,
			"-device", "virtio-serial-pci",
			"-chardev", "socket,id=port0,server=on,wait=off,path="+quote(h.Port.Socket),
			"-device", "virtserialport,chardev=port0,name="+quote(h.Port.Name),
		)
	}
	return args
}

func (h Hardware) networkArgs() []string {
	if h.Network.MAC == "" {
		return []string{"-nic", "none"}
	}
	backend := "user,id=net0,restrict=on"
	if h.Network.Tap != "" {
		backend = "tap,id=net0,ifname=" + quote(h.Network.Tap) + ",script=no,downscript=no"
	}
	card := "virtio-net-pci,netdev=net0,mac=" + h.Network.MAC
	if h.Firmware != BIOS || h.Network.Tap == "" {
		card += ",romfile="
	}
	args := []string{"-netdev", backend, "-device", card + h.bootIndex(DeviceNetwork)}
	if len(h.Network.MoreMACs) == 0 {
		return args
	}
	// A hub has a port for each card, and one for the network.
	args = []string{"-netdev", "user,id=user0,restrict=on", "-netdev", "hubport,id=hub0,hubid=0,netdev=user0"}
	for i, mac := range append([]string{h.Network.MAC}, h.Network.MoreMACs...) {
		args = append(args,
			"-netdev", fmt.Sprintf("hubport,id=net%d,hubid=0", i),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=", i, mac),
		)
	}
	return args
}

func (h Hardware) diskArgs() []string {
	if h.Disk.Path == "" {
		return nil
	}
	format := h.Disk.Format
	if format == "" {
		format = "raw"
	}
	device := "virtio-blk-pci,drive=disk0,serial=" + serial(h.Name)
	if s := h.Disk.SectorSize; s != 0 {
		device += fmt.Sprintf(",logical_block_size=%d,physical_block_size=%d", s, s)
	}
	return []string{
		// unsafe: the host never loses power, and the guest's power cut leaves
		// the host's page cache alone.
		"-drive", "if=none,id=disk0,format=" + format + ",cache=unsafe,discard=unmap,detect-zeroes=unmap,file=" + quote(h.Disk.Path),
		"-device", device + h.bootIndex(DeviceDisk),
	}
}

// mediaArgs plug the CD into the chipset's own SATA controller and the stick
// into a USB controller, as on most machines.
func (h Hardware) mediaArgs() []string {
	var args []string
	if h.CDROM != "" {
		args = append(args,
			"-drive", "if=none,id=cd0,media=cdrom,format=raw,readonly=on,file="+quote(h.CDROM),
			"-device", "ide-cd,drive=cd0,bus=ide.0"+h.bootIndex(DeviceCDROM),
		)
	}
	if h.USB != "" {
		args = append(args,
			"-device", "qemu-xhci,id=usb",
			"-drive", "if=none,id=usb0,format=raw,readonly=on,file="+quote(h.USB),
			"-device", "usb-storage,bus=usb.0,drive=usb0,removable=on"+h.bootIndex(DeviceUSB),
		)
	}
	return args
}

func (h Hardware) kernelArgs() []string {
	if h.Kernel.Path == "" {
		return nil
	}
	args := []string{"-kernel", h.Kernel.Path}
	if h.Kernel.Initrd != "" {
		args = append(args, "-initrd", h.Kernel.Initrd)
	}
	if h.Kernel.Cmdline != "" {
		args = append(args, "-append", h.Kernel.Cmdline)
	}
	return args
}

func (h Hardware) fileArgs() []string {
	var args []string
	for _, f := range h.Files {
		args = append(args, "-fw_cfg", "name="+quote(f.Name)+",file="+quote(f.Path))
	}
	return args
}

// bootIndex is the property of a device that is booted from; others have none.
func (h Hardware) bootIndex(d Device) string {
	order := h.Boot
	if order == nil {
		order = []Device{DeviceNetwork, DeviceCDROM, DeviceUSB, DeviceDisk}
	}
	i := slices.Index(order, d)
	if i < 0 {
		return ""
	}
	return ",bootindex=" + strconv.Itoa(i+1)
}

// quote doubles commas, which else end the value of a QEMU option.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// serial of the disk; virtio carries 20 bytes.
func serial(name string) string {
	s := "lab-" + name
	return s[:min(len(s), 20)]
}

// Overlay returns the arguments of [ImageProgram] that make a disk of that size
// in bytes (0 is the size of the image) which begins with the content of a raw
// image and leaves the image alone. Backing must be an absolute path, because
// the overlay remembers it.
func Overlay(overlay, backing string, size int64) []string {
	args := []string{"create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, overlay}
	if size > 0 {
		args = append(args, strconv.FormatInt(size, 10))
	}
	return args
}
