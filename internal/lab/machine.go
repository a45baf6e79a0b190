package lab

import (
	"context"
	"fmt"
)

// A Machine is a computer with an empty disk, a network interface and a
// serial line. It keeps its disk and its firmware settings across Start and
// PowerOff.
type Machine interface {
	// Name is unique within the network.
	Name() string
	// Start presses the power button. It returns as soon as the machine runs;
	// an error if it runs already.
	Start(ctx context.Context) error
	// PowerOff is the power cut: what the guest has not written is lost. It is
	// no error if the machine is off.
	PowerOff(ctx context.Context) error
	// Console is the path of a file that holds everything the machine ever
	// wrote to its serial line.
	Console() string
	// Exited is closed when the machine that was last started is off, however
	// that came. It is nil before the first Start, which blocks for ever.
	Exited() <-chan struct{}
	// Wait blocks until the machine is off; the error says how it ended, if
	// not by itself or by PowerOff.
	Wait(ctx context.Context) error
	// Inspect looks at the machine from outside.
	Inspect(ctx context.Context) (Status, error)
}

// Status is what can be seen of a machine from outside.
type Status struct {
	Running bool `json:"running"`
	// PID of the emulator, while Running.
	PID int `json:"pid,omitempty"`
	// State is the emulator's word for it: running, paused, guest-panicked.
	State string `json:"state,omitempty"`
	// DiskBytes is how much of the disk the guest has written.
	DiskBytes int64 `json:"diskBytes"`
}

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
