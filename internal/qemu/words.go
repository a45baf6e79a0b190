package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The programs, looked up in the PATH. Debian has them in the packages
// qemu-system-x86 and qemu-utils.
const (
	Program      = "qemu-system-x86_64"
	ImageProgram = "qemu-img"
)

// Accelerator runs a machine's instructions.
type Accelerator string

// The accelerators.
const (
	// TCG is emulation: slow, and it works everywhere.
	TCG Accelerator = "tcg"
	// KVM needs a /dev/kvm that works; that the file exists proves nothing.
	KVM Accelerator = "kvm"
)

// ParseAccelerator reads the value of K8SNODE_ACCEL; empty means [TCG].
func ParseAccelerator(s string) (Accelerator, error) {
	switch a := Accelerator(s); a {
	case "":
		return TCG, nil
	case TCG, KVM:
		return a, nil
	default:
		return "", fmt.Errorf("accelerator %q is neither tcg nor kvm", s)
	}
}

// Firmware starts the boot loader.
type Firmware string

// The firmwares.
const (
	// UEFI is OVMF without Secure Boot keys.
	UEFI Firmware = "uefi"
	// BIOS is SeaBIOS, which QEMU brings itself.
	BIOS Firmware = "bios"
)

// ParseFirmware reads a firmware's name; empty means [UEFI].
func ParseFirmware(s string) (Firmware, error) {
	switch f := Firmware(s); f {
	case "":
		return UEFI, nil
	case UEFI, BIOS:
		return f, nil
	default:
		return "", fmt.Errorf("firmware %q is neither uefi nor bios", s)
	}
}

// Where Debian's ovmf package keeps the firmware without Secure Boot keys.
const (
	FirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	FirmwareVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// Check reports whether the firmware's files are below root, which is "/" on a
// host. The error wraps [fs.ErrNotExist] when they are not installed.
func (f Firmware) Check(root fs.FS) error {
	if f != UEFI {
		return nil
	}
	var problems []error
	for _, file := range []string{FirmwareCode, FirmwareVars} {
		if _, err := fs.Stat(root, file[1:]); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("looking for the UEFI firmware: %w", err)
	}
	return nil
}

// Host is the root of this machine, for [Firmware.Check].
func Host() fs.FS { return os.DirFS("/") }
