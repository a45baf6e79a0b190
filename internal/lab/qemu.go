package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Where Debian's ovmf package keeps the firmware without Secure Boot keys.
const (
	FirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	FirmwareVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// QEMUOptions describe a machine.
type QEMUOptions struct {
	// Name of the machine.
	Name string
	// MAC address of its only interface.
	MAC string
	// Dir receives the disk, the firmware's settings, the console and the
	// emulator's log. It must exist; a disk in it is used as it is.
	Dir string
	// MemoryMiB is 4096 by default.
	MemoryMiB int
	// CPUs is 2 by default, the least that kubeadm accepts.
	CPUs int
	// DiskGiB is 24 by default; the file is sparse.
	DiskGiB int
	// Accelerator is [TCG] by default.
	Accelerator Accelerator
}

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
		o.Accelerator = TCG
	}
	return o
}

// QEMU is a computer with UEFI firmware that boots from its network first and
// from its disk second.
type QEMU struct {
	network *Network
	hw      Hardware
	log     string

	mu      sync.Mutex
	process *Process
	// cut is set by PowerOff: the kill that follows is no failure.
	cut bool
}

var _ Machine = (*QEMU)(nil)

// NewQEMU plugs a machine into the network and makes its empty disk. It does
// not start it.
func NewQEMU(ctx context.Context, n *Network, opts QEMUOptions) (*QEMU, error) {
	m, err := newQEMU(ctx, n, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("making machine %q: %w", opts.Name, err)
	}
	return m, nil
}

func newQEMU(ctx context.Context, n *Network, opts QEMUOptions) (*QEMU, error) {
	if !isName(opts.Name) {
		return nil, errors.New("its name must consist of lower-case letters, digits and inner hyphens")
	}
	if mac, err := net.ParseMAC(opts.MAC); err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%q is not the MAC address of an Ethernet interface", opts.MAC)
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	hw := Hardware{
		Name:         opts.Name,
		MAC:          opts.MAC,
		MemoryMiB:    opts.MemoryMiB,
		CPUs:         opts.CPUs,
		Accelerator:  opts.Accelerator,
		FirmwareCode: FirmwareCode,
		FirmwareVars: filepath.Join(dir, "firmware-vars.fd"),
		Disk:         filepath.Join(dir, "disk.raw"),
		Console:      filepath.Join(dir, "console.log"),
		// Beside the network's record: a socket's path must be short.
		QMP: filepath.Join(n.StateDir(), opts.Name+".qmp"),
	}
	if err := copyOnce(hw.FirmwareVars, FirmwareVars); err != nil {
		return nil, fmt.Errorf("copying the firmware's settings: %w", err)
	}
	if err := sparseOnce(hw.Disk, int64(opts.DiskGiB)<<30); err != nil {
		return nil, fmt.Errorf("making the disk: %w", err)
	}
	if hw.Tap, err = n.AddTap(ctx); err != nil {
		return nil, err
	}
	return &QEMU{network: n, hw: hw, log: filepath.Join(dir, "qemu.log")}, nil
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

// Hardware is a machine as QEMU sees it; all paths are absolute.
type Hardware struct {
	Name         string
	MAC          string
	MemoryMiB    int
	CPUs         int
	Accelerator  Accelerator
	FirmwareCode string
	// FirmwareVars is the machine's own copy: the firmware writes to it.
	FirmwareVars string
	Disk         string
	// Tap is an interface of the network.
	Tap     string
	Console string
	// QMP is the path of a Unix socket.
	QMP string
}

// Args are the arguments of qemu-system-x86_64. There is no -no-reboot: a
// reboot of the guest is one of the machine. The network card has no option
// ROM, because OVMF brings its own PXE.
func (h Hardware) Args() []string {
	accelerator, cpu := "tcg,thread=multi,tb-size=1024", "max"
	if h.Accelerator == KVM {
		accelerator, cpu = "kvm", "host"
	}
	return []string{
		"-name", quote(h.Name),
		"-machine", "q35",
		"-accel", accelerator,
		"-cpu", cpu,
		"-smp", strconv.Itoa(h.CPUs),
		"-m", strconv.Itoa(h.MemoryMiB),
		"-no-user-config",
		"-nodefaults",
		"-display", "none",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + quote(h.FirmwareCode),
		"-drive", "if=pflash,unit=1,format=raw,file=" + quote(h.FirmwareVars),
		"-chardev", "file,id=console,append=on,path=" + quote(h.Console),
		"-serial", "chardev:console",
		"-qmp", "unix:" + quote(h.QMP) + ",server=on,wait=off",
		"-netdev", "tap,id=net0,ifname=" + h.Tap + ",script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=net0,mac=" + h.MAC + ",romfile=,bootindex=1",
		// unsafe: the host never loses power, and the guest's power cut leaves
		// the host's page cache alone.
		"-drive", "if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap,file=" + quote(h.Disk),
		"-device", "virtio-blk-pci,drive=disk0,serial=" + serial(h.Name) + ",bootindex=2",
		"-object", "rng-random,id=rng0,filename=/dev/urandom",
		"-device", "virtio-rng-pci,rng=rng0",
	}
}

// quote doubles commas, which else end the value of a QEMU option.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// serial of the disk; virtio carries 20 bytes.
func serial(name string) string {
	s := "lab-" + name
	return s[:min(len(s), 20)]
}

// Name implements [Machine].
func (m *QEMU) Name() string { return m.hw.Name }

// Console implements [Machine].
func (m *QEMU) Console() string { return m.hw.Console }

// Start implements [Machine].
func (m *QEMU) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil && !isClosed(m.process.Done()) {
		return fmt.Errorf("starting machine %s: it is running", m.hw.Name)
	}
	process, err := m.network.Start(ctx, Program{
		Label: m.hw.Name,
		Path:  "qemu-system-x86_64",
		Args:  m.hw.Args(),
		Log:   m.log,
	})
	if err != nil {
		return err
	}
	m.process, m.cut = process, false
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
	var disk syscall.Stat_t
	if err := syscall.Stat(m.hw.Disk, &disk); err != nil {
		return Status{}, fmt.Errorf("inspecting the disk of %s: %w", m.hw.Name, err)
	}
	status := Status{DiskBytes: disk.Blocks * 512}
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
