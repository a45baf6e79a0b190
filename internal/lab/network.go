package lab

import (
	"context"
	_ "embed" // for guard.sh
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// DefaultStateDir holds one folder per network. It is on a tmpfs, beside the
// names of ip-netns(8): both are gone after a reboot.
const DefaultStateDir = "/run/k8snode/lab"

// Options of a network.
type Options struct {
	// Name of the namespace; empty picks one that is free. A name that is in
	// use is an error.
	Name string
	// Address is that of the bridge, with the prefix of the network;
	// 10.77.0.1/24 by default.
	Address netip.Prefix
	// Bridge is br0 by default.
	Bridge string
	// StateDir is [DefaultStateDir] by default. Keep it short: the sockets of
	// machines are in it, and a socket's path has at most 107 bytes.
	StateDir string
	// Logger reports what is started and stopped; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if !o.Address.IsValid() {
		o.Address = netip.MustParsePrefix("10.77.0.1/24")
	}
	if o.Bridge == "" {
		o.Bridge = "br0"
	}
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Network is a namespace with a bridge, and everything that runs in it.
// Its methods may be called from several goroutines.
type Network struct {
	name string
	opts Options
	// guard ends what we started when this process dies: it reads the other
	// end of this pipe, which the kernel closes with us.
	guard io.WriteCloser
	// reaped is closed when the guard has been waited for.
	reaped chan struct{}

	mu        sync.Mutex
	taps      int
	processes []*Process
	closed    bool
}

//go:embed guard.sh
var guardScript string

// New makes a network, after it has removed the networks of dead owners.
// Close must be called, also when ctx has ended.
func New(ctx context.Context, opts Options) (*Network, error) {
	opts = opts.withDefaults()
	if opts.Name != "" && !isName(opts.Name) {
		return nil, fmt.Errorf("network name %q must consist of lower-case letters, digits and inner hyphens", opts.Name)
	}
	if err := sweep(ctx, opts.StateDir); err != nil {
		return nil, fmt.Errorf("removing stale networks: %w", err)
	}
	name, err := claim(opts.StateDir, opts.Name)
	if err != nil {
		return nil, fmt.Errorf("claiming a network name: %w", err)
	}
	n := &Network{name: name, opts: opts}
	if err := n.startGuard(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guard of network %s: %w", name, err), n.Close(ctx))
	}
	if _, err := ip(ctx, "netns", "add", name); err != nil {
		// A namespace of this name is not ours: it must not be deleted.
		return nil, errors.Join(fmt.Errorf("making network %s: %w", name, err), n.forget())
	}
	for _, args := range bridgeCommands(name, opts.Bridge, opts.Address) {
		if _, err := ip(ctx, args...); err != nil {
			return nil, errors.Join(fmt.Errorf("making network %s: %w", name, err), n.Close(ctx))
		}
	}
	opts.Logger.Info("network made", "network", name, "bridge", opts.Bridge, "address", opts.Address)
	return n, nil
}

// isName keeps names out of other folders.
func isName(name string) bool {
	for i, r := range name {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		case r == '-' && 0 < i && i < len(name)-1:
		default:
			return false
		}
	}
	return name != ""
}

// startGuard runs guard.sh outside of our session, so that Ctrl-C does not
// reach it, and without our standard streams, so that "go test" does not wait
// for it.
func (n *Network) startGuard(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", guardScript, "k8snode-lab-guard", n.StateDir(), n.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.guard = stdin
	n.reaped = make(chan struct{})
	go func() {
		defer close(n.reaped)
		_ = cmd.Wait() // Its exit code says nothing that we act on.
	}()
	return nil
}

// Name is that of the namespace.
func (n *Network) Name() string { return n.name }

// Bridge is the interface that a server inside the network listens on.
func (n *Network) Bridge() string { return n.opts.Bridge }

// Address is that of the bridge.
func (n *Network) Address() netip.Prefix { return n.opts.Address }

// StateDir is the network's own folder. It has a short path: the place for
// sockets. It is removed by Close.
func (n *Network) StateDir() string { return filepath.Join(n.opts.StateDir, n.name) }

// AddTap plugs a new tap into the bridge and returns its name.
func (n *Network) AddTap(ctx context.Context) (string, error) {
	n.mu.Lock()
	n.taps++
	tap := fmt.Sprintf("tap%d", n.taps)
	n.mu.Unlock()
	for _, args := range tapCommands(n.name, n.opts.Bridge, tap) {
		if _, err := ip(ctx, args...); err != nil {
			return "", fmt.Errorf("adding %s to network %s: %w", tap, n.name, err)
		}
	}
	return tap, nil
}

// set changes a tap, with arguments of "ip link set".
func (n *Network) set(ctx context.Context, tap string, args ...string) error {
	if _, err := ip(ctx, append([]string{"-n", n.name, "link", "set", tap}, args...)...); err != nil {
		return fmt.Errorf("changing %s of network %s: %w", tap, n.name, err)
	}
	return nil
}

// Command returns a command that runs inside the namespace, for a program
// that ends by itself; [Network.Start] is for those that stay. The program is
// looked up in the host's PATH.
func (n *Network) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.name, name}, args...)...)
}

// Keep lets the network and its processes outlive this process; [Stop] ends
// them later. Close does nothing afterwards.
func (n *Network) Keep() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("keeping network %s: it is closed", n.name)
	}
	if err := os.WriteFile(filepath.Join(n.StateDir(), keptFile), nil, 0o600); err != nil {
		return fmt.Errorf("keeping network %s: %w", n.name, err)
	}
	n.closed = true
	n.dismissGuard()
	return nil
}

// Close stops every process, deletes the namespace and forgets the network.
// It works to the end even if ctx has ended; a second call does nothing.
func (n *Network) Close(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	ctx = context.WithoutCancel(ctx)
	err := remove(ctx, n.opts.StateDir, n.name)
	for _, p := range n.processes {
		<-p.done
	}
	if err != nil {
		// The guard tries once more when this process ends.
		return fmt.Errorf("closing network %s: %w", n.name, err)
	}
	n.dismissGuard()
	n.opts.Logger.Info("network closed", "network", n.name)
	return nil
}

// forget gives up a network that has no namespace yet.
func (n *Network) forget() error {
	n.closed = true
	n.dismissGuard()
	return os.RemoveAll(n.StateDir())
}

// dismissGuard tells the guard that there is nothing left to do.
func (n *Network) dismissGuard() {
	if n.guard == nil {
		return
	}
	// A guard that is gone already (somebody ended it) leaves a broken pipe.
	_, _ = io.WriteString(n.guard, "release\n")
	_ = n.guard.Close()
	<-n.reaped
}

// Stop ends the networks that were kept and returns their names. An empty
// stateDir is [DefaultStateDir].
func Stop(ctx context.Context, stateDir string) ([]string, error) {
	kept, err := Kept(stateDir)
	if err != nil {
		return nil, err
	}
	for i, name := range kept {
		if err := remove(ctx, Options{StateDir: stateDir}.withDefaults().StateDir, name); err != nil {
			return kept[:i], err
		}
	}
	return kept, nil
}

// Kept lists the networks that outlive their owners, sorted by name. An empty
// stateDir is [DefaultStateDir].
func Kept(stateDir string) ([]string, error) {
	stateDir = Options{StateDir: stateDir}.withDefaults().StateDir
	names, err := networks(stateDir)
	if err != nil {
		return nil, fmt.Errorf("listing networks: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Stat(filepath.Join(stateDir, name, keptFile))
		return err != nil
	}), nil
}
