package qemu_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/qemu"
)

// machine is the base of the machines below.
func machine() qemu.Hardware {
	return qemu.Hardware{
		Name:         "cp1",
		MemoryMiB:    6144,
		CPUs:         2,
		Accelerator:  qemu.TCG,
		Firmware:     qemu.UEFI,
		FirmwareVars: "/lab/a,b/vars.fd",
		Console:      qemu.Console{File: "/lab/a,b/console.log"},
		QMP:          "/run/cp1.qmp",
	}
}

func TestArgs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*qemu.Hardware)
	}{
		{"bridge", func(h *qemu.Hardware) {
			h.Network = qemu.Network{MAC: "52:54:00:6b:00:0b", Tap: "tap1"}
			h.Disk = qemu.Disk{Path: "/lab/a,b/disk.raw"}
		}},
		{"kvm", func(h *qemu.Hardware) { h.Accelerator = qemu.KVM }},
		{"overlay-4096", func(h *qemu.Hardware) {
			h.Network = qemu.Network{MAC: "52:54:00:6b:00:0b"}
			h.Disk = qemu.Disk{Path: "/lab/disk.qcow2", Format: "qcow2", SectorSize: 4096}
			h.Files = []qemu.File{{Name: "opt/com.coreos/config", Path: "/lab/a,b/config.ign"}}
			h.Port = qemu.Port{Name: "org.k8snode.lab", Socket: "/run/cp1.port"}
		}},
		{"two-cards", func(h *qemu.Hardware) {
			h.Network = qemu.Network{MAC: "52:54:00:6b:00:0b", MoreMACs: []string{"52:54:00:6b:01:0b"}}
			h.Disk = qemu.Disk{Path: "/lab/disk.raw"}
		}},
		{"bios-media", func(h *qemu.Hardware) {
			h.Firmware = qemu.BIOS
			h.Network = qemu.Network{MAC: "52:54:00:6b:00:0b", Tap: "tap1"}
			h.Disk = qemu.Disk{Path: "/lab/disk.raw"}
			h.CDROM, h.USB = "/out/live.iso", "/out/live.iso"
		}},
		{"boot-order", func(h *qemu.Hardware) {
			h.Disk = qemu.Disk{Path: "/lab/disk.raw"}
			h.CDROM = "/out/live.iso"
			h.Boot = []qemu.Device{qemu.DeviceDisk}
		}},
		{"kernel-terminal", func(h *qemu.Hardware) {
			h.Kernel = qemu.Kernel{Path: "/out/a,b/vmlinuz", Initrd: "/out/a,b/initrd.img", Cmdline: "ro console=ttyS0,115200n8"}
			h.Console = qemu.Console{Stream: qemu.Terminal}
			h.QMP = ""
		}},
		{"plain", func(h *qemu.Hardware) { h.Console = qemu.Console{Stream: qemu.Plain} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := machine()
			tt.change(&h)
			golden.Check(t, filepath.Join("testdata", tt.name+".txt"), []byte(listed(h.Args())))
		})
	}
}

// listed shows one option with its value per line.
func listed(args []string) string {
	var b strings.Builder
	for i, arg := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(arg, "-"):
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
		}
		b.WriteString(arg)
	}
	return b.String() + "\n"
}

func TestOverlay(t *testing.T) {
	want := []string{"create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/out/disk.raw", "/tmp/disk.qcow2", "25769803776"}
	if diff := cmp.Diff(want, qemu.Overlay("/tmp/disk.qcow2", "/out/disk.raw", 24<<30)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want[:len(want)-1], qemu.Overlay("/tmp/disk.qcow2", "/out/disk.raw", 0)); diff != "" {
		t.Errorf("of the image's size, -want +got:\n%s", diff)
	}
}

func TestParseAccelerator(t *testing.T) {
	for _, tt := range []struct {
		text    string
		want    qemu.Accelerator
		wantErr string
	}{
		{text: "", want: qemu.TCG},
		{text: "tcg", want: qemu.TCG},
		{text: "kvm", want: qemu.KVM},
		{text: "KVM", wantErr: `accelerator "KVM" is neither tcg nor kvm`},
	} {
		got, err := qemu.ParseAccelerator(tt.text)
		if got != tt.want || errorText(err) != tt.wantErr {
			t.Errorf("ParseAccelerator(%q) = %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.wantErr)
		}
	}
}

func TestParseFirmware(t *testing.T) {
	for _, tt := range []struct {
		text    string
		want    qemu.Firmware
		wantErr string
	}{
		{text: "", want: qemu.UEFI},
		{text: "uefi", want: qemu.UEFI},
		{text: "bios", want: qemu.BIOS},
		{text: "coreboot", wantErr: `firmware "coreboot" is neither uefi nor bios`},
	} {
		got, err := qemu.ParseFirmware(tt.text)
		if got != tt.want || errorText(err) != tt.wantErr {
			t.Errorf("ParseFirmware(%q) = %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.wantErr)
		}
	}
}

func TestFirmwareCheck(t *testing.T) {
	installed := fstest.MapFS{qemu.FirmwareCode[1:]: {}, qemu.FirmwareVars[1:]: {}}
	half := fstest.MapFS{qemu.FirmwareCode[1:]: {}}
	for _, tt := range []struct {
		name     string
		firmware qemu.Firmware
		root     fstest.MapFS
		want     string
	}{
		{"installed", qemu.UEFI, installed, ""},
		{"half of it", qemu.UEFI, half, "looking for the UEFI firmware: open usr/share/OVMF/OVMF_VARS_4M.fd: file does not exist"},
		{"QEMU brings its BIOS", qemu.BIOS, fstest.MapFS{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errorText(tt.firmware.Check(tt.root)); got != tt.want {
				t.Errorf("got error %q, want %q", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
