package lab

import "context"

// A Machine is a computer with a serial line. It keeps its disk and its
// firmware settings across Start and PowerOff.
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
