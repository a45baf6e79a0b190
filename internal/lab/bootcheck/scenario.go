package bootcheck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
)

// Scenarios are all boots.
func Scenarios() []Scenario {
	return []Scenario{
		{"kubernetes", 512, kubernetes},
		{"disk-uefi", 512, disk(qemu.UEFI)},
		{"disk-bios", 512, disk(qemu.BIOS)},
		{"disk-4096", 4096, disk(qemu.UEFI)},
		{"esp", 512, configOnESP},
		{"power-cut", 512, powerCut},
		{"tampered", 512, tampered},
		{"pxe-uefi", 512, pxe(qemu.UEFI)},
		{"pxe-bios", 512, pxe(qemu.BIOS)},
		{"cd-uefi", 512, iso(qemu.UEFI, qemu.DeviceCDROM)},
		{"cd-bios", 512, iso(qemu.BIOS, qemu.DeviceCDROM)},
		{"usb-uefi", 512, iso(qemu.UEFI, qemu.DeviceUSB)},
		{"usb-bios", 512, iso(qemu.BIOS, qemu.DeviceUSB)},
	}
}

// name of the machine in every scenario but the one of Kubernetes; it is also
// the hostname that Ignition gives it.
const name = "lab"

const (
	// diskMemoryMiB is for a system without Kubernetes, liveMemoryMiB for one
	// whose root is in memory, twice while the initramfs is unpacked.
	diskMemoryMiB = 2048
	liveMemoryMiB = 4096
	diskGiB       = 12
)

// writeConfig writes a config into the work folder. It may hold secrets.
func (s *story) writeConfig(config []byte, err error) (string, error) {
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.opts.Dir, "config.ign")
	return path, os.WriteFile(path, config, 0o600)
}

// diskOptions describe a machine with the disk image.
func (s *story) diskOptions(firmware qemu.Firmware) (lab.QEMUOptions, error) {
	raw, err := s.opts.artifact(images.RawFile)
	if err != nil {
		return lab.QEMUOptions{}, err
	}
	config, err := s.writeConfig(diskConfig(name))
	return lab.QEMUOptions{
		Name: name, MemoryMiB: diskMemoryMiB, Firmware: firmware, Boot: []qemu.Device{qemu.DeviceDisk},
		Image: raw, DiskGiB: diskGiB, SectorSize: s.manifest.Disk.SectorSize, Config: config,
	}, err
}

// checks are those of every boot, and of one from a disk.
func (s *story) checks(hostname string) []Check {
	return SystemChecks(s.opts.Recipe, s.manifest, hostname)
}

func (s *story) diskChecks(hostname string) []Check {
	return append(s.checks(hostname), DiskChecks(s.opts.Recipe)...)
}

// disk boots the disk image once; other scenarios reboot.
func disk(firmware qemu.Firmware) func(context.Context, *story) error {
	return func(ctx context.Context, s *story) error {
		opts, err := s.diskOptions(firmware)
		if err != nil {
			return err
		}
		m, err := s.newMachine(ctx, opts)
		if err != nil {
			return err
		}
		if err := m.powerOn(ctx); err != nil {
			return err
		}
		checks := append(s.diskChecks(name), commandLine(s.manifest), firmwareCheck(firmware))
		_, err = m.boot(ctx, "", checks)
		return err
	}
}

// commandLine compares the whole of it: UEFI and BIOS boot the same.
func commandLine(m images.Manifest) Check {
	return Check{"the kernel's command line is that of the manifest", "cat /proc/cmdline", func(got string) error {
		// GRUB puts the kernel's file in front.
		words := strings.Fields(got)
		if len(words) > 0 && strings.HasPrefix(words[0], "BOOT_IMAGE=") {
			words = words[1:]
		}
		return equals(m.Cmdline)(strings.Join(words, " "))
	}}
}

func firmwareCheck(f qemu.Firmware) Check {
	return Check{"the firmware is " + string(f), "if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi", equals(string(f))}
}

// configOnESP boots a disk on whose EFI system partition somebody has put a
// config, which must be gone afterwards.
func configOnESP(ctx context.Context, s *story) error {
	opts, err := s.diskOptions(qemu.UEFI)
	if err != nil {
		return err
	}
	config := opts.Config
	// A copy: mtools know no overlays. The machine takes it as its disk.
	dir := filepath.Join(s.opts.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := copyWithConfig(ctx, opts.Image, filepath.Join(dir, "disk.raw"), diskGiB<<30, s.manifest.Disk, config); err != nil {
		return err
	}
	opts.Image, opts.Config = "", ""
	m, err := s.newMachine(ctx, opts)
	if err != nil {
		return err
	}
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	gone := Check{
		"the config is gone from the EFI system partition",
		"mkdir -p /run/lab-esp && mount -o ro /dev/disk/by-partlabel/" + images.LabelESP + " /run/lab-esp && ls /run/lab-esp/k8snode; umount /run/lab-esp",
		func(got string) error {
			if strings.Contains(got, "user.ign") {
				return fmt.Errorf("got %q", got)
			}
			return nil
		},
	}
	id, err := m.boot(ctx, "", append(s.diskChecks(name), gone))
	if err != nil {
		return err
	}
	return m.reboot(ctx, id)
}

// ignitionFiles is what systemd says when the disks are done and the files
// begin.
var ignitionFiles = regexp.MustCompile(`Starting.*[Ii]gnition.*\(files\)`)

// powerCut cuts the power when Ignition has made the disks and writes files,
// and expects it to begin anew.
func powerCut(ctx context.Context, s *story) error {
	opts, err := s.diskOptions(qemu.UEFI)
	if err != nil {
		return err
	}
	m, err := s.newMachine(ctx, opts)
	if err != nil {
		return err
	}
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	if err := m.says(ctx, ignitionFiles); err != nil {
		return err
	}
	if err := m.PowerOff(ctx); err != nil {
		return err
	}
	s.log("power cut", m)
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	id, err := m.boot(ctx, "", s.diskChecks(name))
	if err != nil {
		return err
	}
	return m.reboot(ctx, id)
}

// says waits for a line on the console of a machine that goes on.
func (m *machine) says(ctx context.Context, pattern *regexp.Regexp) error {
	ctx, stop := m.watch(ctx, m.story.opts.Patience)
	defer stop()
	_, err := lab.NewConsole(m.Console()).WaitFor(ctx, pattern)
	return err
}

// corrupted is what the kernel says of a block with another digest.
var corrupted = regexp.MustCompile(`verity:.* is corrupted`)

// tampered boots a disk with one other byte in the root: the time at which the
// squashfs was made, which nothing reads. The machine must hold.
func tampered(ctx context.Context, s *story) error {
	opts, err := s.diskOptions(qemu.UEFI)
	if err != nil {
		return err
	}
	m, err := s.newMachine(ctx, opts)
	if err != nil {
		return err
	}
	const madeAt = 8 // mkfs_time of the superblock
	if err := flipByte(ctx, opts.Image, m.Disk(), s.manifest.Disk, images.LabelRoot, madeAt); err != nil {
		return err
	}
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	wait, stop := context.WithTimeout(ctx, s.opts.Patience)
	defer stop()
	console := lab.NewConsole(m.Console())
	for _, pattern := range []*regexp.Regexp{corrupted, stuck} {
		line, err := console.WaitFor(wait, pattern)
		if err != nil {
			return err
		}
		s.log("machine refused", m, "line", line)
	}
	return nil
}

// pxe starts the files of a network boot as a boot loader does, with a config
// appended to the initramfs.
func pxe(firmware qemu.Firmware) func(context.Context, *story) error {
	return func(ctx context.Context, s *story) error {
		opts := lab.QEMUOptions{Name: name, MemoryMiB: liveMemoryMiB, Firmware: firmware, DiskGiB: -1, Boot: []qemu.Device{}}
		var err error
		if opts.Kernel, err = s.pxeKernel(); err != nil {
			return err
		}
		return s.bootLive(ctx, opts)
	}
}

// iso boots live.iso from a drive.
func iso(firmware qemu.Firmware, drive qemu.Device) func(context.Context, *story) error {
	return func(ctx context.Context, s *story) error {
		medium, err := s.opts.artifact(images.ISOFile)
		if err != nil {
			return err
		}
		opts := lab.QEMUOptions{Name: name, MemoryMiB: diskMemoryMiB, Firmware: firmware, DiskGiB: -1, Boot: []qemu.Device{drive}}
		if drive == qemu.DeviceUSB {
			opts.USB = medium
		} else {
			opts.CDROM = medium
		}
		if opts.Config, err = s.writeConfig(liveConfig(name)); err != nil {
			return err
		}
		return s.bootLive(ctx, opts)
	}
}

// bootLive boots a machine that keeps nothing.
func (s *story) bootLive(ctx context.Context, opts lab.QEMUOptions) error {
	m, err := s.newMachine(ctx, opts)
	if err != nil {
		return err
	}
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	inMemory := Check{"the state is in memory", "findmnt -n -o FSTYPE -T /var", equals("tmpfs")}
	_, err = m.boot(ctx, "", append(s.checks(name), firmwareCheck(opts.Firmware), inMemory))
	return err
}
