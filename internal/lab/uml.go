package lab

import (
	"context"
	_ "embed" // for uml.sh
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// UMLOptions describe a machine that is a process of the host: Linux as a
// program (User-Mode Linux). It has no firmware, so it is given the kernel's
// command line and the initramfs that a boot loader would load.
type UMLOptions struct {
	// Name of the machine.
	Name string
	// Dir receives the console and the pipes. It must exist.
	Dir string
	// Kernel is a folder with the program linux and its modules, as package
	// umlkernel makes it.
	Kernel string
	// Libraries is a folder with the C library that the kernel needs.
	Libraries string
	// Disk is the path of the disk, a raw image; MoreDisks are further ones.
	Disk      string
	MoreDisks []string
	// Initrd is the initramfs, and Cmdline the kernel's command line.
	Initrd  string
	Cmdline string
	// MemoryMiB is 3072 by default.
	MemoryMiB int
	// MAC address of the card, which is on the bridge.
	MAC string
	// NoReboot makes the machine end when its system reboots, so that whoever is its
	// firmware can [UML.Load] what comes next.
	NoReboot bool
}

func (o UMLOptions) check() error {
	if !isName(o.Name) {
		return errors.New("its name must consist of lower-case letters, digits and inner hyphens")
	}
	if mac, err := net.ParseMAC(o.MAC); err != nil || len(mac) != 6 {
		return fmt.Errorf("%q is not the MAC address of an Ethernet interface", o.MAC)
	}
	for _, path := range append([]string{o.Dir, o.Libraries, filepath.Join(o.Kernel, "linux"), filepath.Join(o.Kernel, "modules"), o.Disk, o.Initrd}, o.MoreDisks...) {
		if strings.Contains(path, ":") {
			return fmt.Errorf("%q has a colon, which separates paths", path)
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

//go:embed uml.sh
var umlScript string

// The names of the files of a machine.
const (
	umlGuestIn  = "guest.in"
	umlGuestOut = "guest.out"
)

// UMLPort is where the guest of a [UML] machine reads what [GuestUnit] asks.
const UMLPort = "/dev/ttyS1"

// args are those of uml.sh and of the kernel.
func (o UMLOptions) args(tap string) []string {
	disks := append([]string{o.Disk}, o.MoreDisks...)
	args := []string{
		"-c", umlScript, "uml.sh", o.Dir, o.Kernel, o.Libraries, strings.Join(disks, ":"), o.Initrd, strconv.Itoa(o.MemoryMiB),
		// Without seccomp the kernel traces its processes, several times slower.
		"seccomp=on",
		fmt.Sprintf("mem=%dM", o.MemoryMiB),
		"umid=" + o.Name,
		"initrd=/initrd",
		"hostfs=/kernel/modules",
		"vec0:transport=tap,ifname=" + tap + ",depth=128,gro=1,mac=" + o.MAC,
		// Two serial lines: the console, and the one of the guest's unit.
		"con=null", "ssl=null", "ssl0=null,fd:1", "ssl1=fd:3,fd:4",
		o.Cmdline,
	}
	if o.NoReboot {
		args = append(args, "noreboot")
	}
	for i := range disks {
		args = append(args, fmt.Sprintf("ubd%d=/disk%d", i, i))
	}
	return args
}

// UML is a computer that is a process, as its [UMLOptions] describe it. It
// runs at nearly the speed of the host, without KVM.
type UML struct {
	network *Network
	opts    UMLOptions
	tap     string
	console string
	guest   *Guest

	mu      sync.Mutex
	process *Process
	// cut is set by PowerOff: the kill that follows is no failure.
	cut bool
}

var _ Machine = (*UML)(nil)

// NewUML plugs a machine into the network. It does not start it.
func NewUML(ctx context.Context, n *Network, opts UMLOptions) (*UML, error) {
	m, err := newUML(ctx, n, opts)
	if err != nil {
		return nil, fmt.Errorf("making machine %q: %w", opts.Name, err)
	}
	return m, nil
}

func newUML(ctx context.Context, n *Network, opts UMLOptions) (*UML, error) {
	if opts.MemoryMiB == 0 {
		opts.MemoryMiB = 3072
	}
	for _, path := range []*string{&opts.Dir, &opts.Kernel, &opts.Libraries, &opts.Disk, &opts.Initrd} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = abs
	}
	opts.MoreDisks = slices.Clone(opts.MoreDisks)
	for i, path := range opts.MoreDisks {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		opts.MoreDisks[i] = abs
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	in, out := filepath.Join(opts.Dir, umlGuestIn), filepath.Join(opts.Dir, umlGuestOut)
	for _, pipe := range []string{in, out} {
		if err := unix.Mkfifo(pipe, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("making the pipe %s: %w", pipe, err)
		}
	}
	tap, err := n.AddTap(ctx)
	if err != nil {
		return nil, err
	}
	return &UML{
		network: n,
		opts:    opts,
		tap:     tap,
		console: filepath.Join(opts.Dir, "console.log"),
		guest:   NewGuest(Pipes(in, out)),
	}, nil
}

// Name implements [Machine].
func (m *UML) Name() string { return m.opts.Name }

// Console implements [Machine].
func (m *UML) Console() string { return m.console }

// Guest runs commands in the machine's operating system, if that was given
// what it needs to answer.
func (m *UML) Guest() *Guest { return m.guest }

// Start implements [Machine].
func (m *UML) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil && !isClosed(m.process.Done()) {
		return fmt.Errorf("starting machine %s: it is running", m.opts.Name)
	}
	process, err := m.network.Start(ctx, Program{Label: m.opts.Name, Path: "sh", Args: m.opts.args(m.tap), Log: m.console})
	if err != nil {
		return err
	}
	m.process, m.cut = process, false
	return nil
}

// Load changes what the next start boots, as a boot loader does.
func (m *UML) Load(initrd, cmdline string) error {
	initrd, err := filepath.Abs(initrd)
	if err != nil {
		return fmt.Errorf("loading machine %s: %w", m.opts.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opts.Initrd, m.opts.Cmdline = initrd, cmdline
	return nil
}

// PowerOff implements [Machine].
func (m *UML) PowerOff(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	m.cut = true
	if err := m.process.Kill(ctx); err != nil {
		return fmt.Errorf("powering off %s: %w", m.opts.Name, err)
	}
	return nil
}

// Unplug takes the machine's port off the bridge: nothing that it sends arrives,
// though it has a link. (A tap that is down stops the machine's card for ever.)
func (m *UML) Unplug(ctx context.Context) error {
	return m.network.set(ctx, m.tap, "nomaster")
}

// Plug puts the port back.
func (m *UML) Plug(ctx context.Context) error {
	return m.network.set(ctx, m.tap, "master", m.network.Bridge())
}

// Exited implements [Machine].
func (m *UML) Exited() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	return m.process.Done()
}

// Wait implements [Machine].
func (m *UML) Wait(ctx context.Context) error {
	m.mu.Lock()
	process := m.process
	m.mu.Unlock()
	if process == nil {
		return nil
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return fmt.Errorf("waiting for machine %s to end: %w", m.opts.Name, context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := process.Err(); err != nil && !m.cut {
		return fmt.Errorf("machine %s ended: %w; %s says:\n%s", m.opts.Name, err, m.console, Tail(m.console))
	}
	return nil
}

// Inspect implements [Machine].
func (m *UML) Inspect(context.Context) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var disk syscall.Stat_t
	if err := syscall.Stat(m.opts.Disk, &disk); err != nil {
		return Status{}, fmt.Errorf("inspecting the disk of %s: %w", m.opts.Name, err)
	}
	status := Status{DiskBytes: disk.Blocks * 512}
	if m.process != nil && !isClosed(m.process.Done()) {
		status.Running, status.PID, status.State = true, m.process.PID(), "running"
	}
	return status, nil
}
