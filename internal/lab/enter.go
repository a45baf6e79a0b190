package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do calls f on an operating system thread that is inside the namespace: a
// socket that f opens belongs to the network for its whole life.
//
// Only what f does itself is inside, not the goroutines that it starts: open
// connections with [Network.Dial], and listeners in f.
func (n *Network) Do(f func() error) error {
	result := make(chan error, 1)
	go func() { result <- n.enter(f) }()
	return <-result
}

// enter runs on a goroutine of its own. It unlocks the thread only if it is
// back in its old namespace: else the runtime ends the thread with the
// goroutine, and nobody else runs on it.
func (n *Network) enter(f func() error) (err error) {
	inside, err := unix.Open(filepath.Join(namespaceDir, n.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening network %s: %w", n.name, err)
	}
	defer unix.Close(inside)
	runtime.LockOSThread()
	outside, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening the host's network: %w", err)
	}
	defer unix.Close(outside)
	if err := unix.Setns(inside, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering network %s: %w", n.name, err)
	}
	defer func() {
		if back := unix.Setns(outside, unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leaving network %s: %w", n.name, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// Dial connects from inside the namespace to an IP address with a port; it
// is a [net/http.Transport]'s DialContext. Names are not resolved: a
// resolver would run outside.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling in network %s: %w", n.name, err)
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dialling in network %s: %q is not an IP address", n.name, host)
	}
	var conn net.Conn
	err = n.Do(func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
