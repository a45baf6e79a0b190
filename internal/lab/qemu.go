package lab

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/k8snode/k8snode/internal/qemu"
)

// QEMU is an emulated computer, as its [QEMUOptions] describe it.
type QEMU struct {
	network *Network
	hw      qemu.Hardware
	log     string

	guest *Guest

	mu      sync.Mutex
	process *Process
	// cut is set by PowerOff: the kill that follows is no failure.
	cut bool
}

var _ Machine = (*QEMU)(nil)

// Name implements [Machine].
func (m *QEMU) Name() string { return m.hw.Name }

// Console implements [Machine].
func (m *QEMU) Console() string { return m.hw.Console.File }

// Disk is the path of its disk, empty if it has none.
func (m *QEMU) Disk() string { return m.hw.Disk.Path }

// Guest runs commands in the machine's operating system, if that was given
// what it needs to answer.
func (m *QEMU) Guest() *Guest { return m.guest }

// Start implements [Machine].
func (m *QEMU) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil && !isClosed(m.process.Done()) {
		return fmt.Errorf("starting machine %s: it is running", m.hw.Name)
	}
	process, err := m.network.Start(ctx, Program{
		Label: m.hw.Name,
		Path:  qemu.Program,
		Args:  m.hw.Args(),
		Log:   m.log,
	})
	if err != nil {
		return err
	}
	m.process, m.cut = process, false
	if m.hw.Accelerator != qemu.KVM {
		guard := startGuard{console: m.Console(), reset: m.Reset, logger: m.network.opts.Logger}
		go guard.watch(ctx, process.Done())
	}
	return nil
}

// PowerOff implements [Machine].
func (m *QEMU) PowerOff(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	m.cut = true
	if err := m.process.Kill(ctx); err != nil {
		return fmt.Errorf("powering off %s: %w", m.hw.Name, err)
	}
	return nil
}

// Exited implements [Machine].
func (m *QEMU) Exited() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	return m.process.Done()
}

// Wait implements [Machine].
func (m *QEMU) Wait(ctx context.Context) error {
	m.mu.Lock()
	process := m.process
	m.mu.Unlock()
	if process == nil {
		return nil
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return fmt.Errorf("waiting for machine %s to end: %w", m.hw.Name, context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := process.Err(); err != nil && !m.cut {
		return fmt.Errorf("machine %s ended: %w; %s says:\n%s", m.hw.Name, err, m.log, Tail(m.log))
	}
	return nil
}

// Inspect implements [Machine].
func (m *QEMU) Inspect(ctx context.Context) (Status, error) {
	m.mu.Lock()
	process := m.process
	m.mu.Unlock()
	var status Status
	if m.hw.Disk.Path != "" {
		var disk syscall.Stat_t
		if err := syscall.Stat(m.hw.Disk.Path, &disk); err != nil {
			return Status{}, fmt.Errorf("inspecting the disk of %s: %w", m.hw.Name, err)
		}
		status.DiskBytes = disk.Blocks * 512
	}
	if process == nil || isClosed(process.Done()) {
		return status, nil
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := queryMachine(ctx, m.hw.QMP, "query-status", &answer); err != nil {
		return status, fmt.Errorf("inspecting machine %s: %w", m.hw.Name, err)
	}
	status.Running, status.PID, status.State = true, process.PID(), answer.Status
	return status, nil
}

// Reset presses the reset button.
func (m *QEMU) Reset(ctx context.Context) error {
	if err := queryMachine(ctx, m.hw.QMP, "system_reset", nil); err != nil {
		return fmt.Errorf("resetting machine %s: %w", m.hw.Name, err)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
