package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A Program is something that stays running inside a network.
type Program struct {
	// Label names it in the network's record and in errors.
	Label string
	// Path is looked up in the host's PATH.
	Path string
	Args []string
	// Dir is the working folder; empty is the caller's.
	Dir string
	// Log receives standard output and standard error, appended.
	Log string
}

// A Process is a started [Program].
type Process struct {
	id   processID
	done chan struct{}
	// err is set before done is closed.
	err error
}

// Start runs a program inside the namespace. It runs until the network is
// closed or the process is killed: it does not end with ctx, because a
// machine may outlive the command that started it ([Network.Keep]), and
// because a network's processes are stopped in order.
func (n *Network) Start(ctx context.Context, p Program) (*Process, error) {
	process, err := n.start(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Label, err)
	}
	return process, nil
}

func (n *Network) start(ctx context.Context, p Program) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Files, not pipes: a pipe would break when its owner is gone.
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := n.Command(context.WithoutCancel(ctx), p.Path, p.Args...)
	cmd.Dir = p.Dir
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C is for us; we then stop the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("network %s is closed", n.name)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// "ip netns exec" replaces itself by the program: this is its pid.
	process := &Process{id: processID{PID: cmd.Process.Pid}, done: make(chan struct{})}
	id, err := identify(cmd.Process.Pid)
	if err == nil {
		process.id = id
		err = record(n.StateDir(), id, p.Label)
	}
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	go process.reap(cmd)
	n.processes = append(n.processes, process)
	n.opts.Logger.Info("process started", "network", n.name, "process", p.Label, "pid", id.PID)
	return process, nil
}

func (p *Process) reap(cmd *exec.Cmd) {
	p.err = cmd.Wait()
	close(p.done)
}

// PID of the process.
func (p *Process) PID() int { return p.id.PID }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended: nil for exit code 0. It is nil until Done is
// closed.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Kill ends the process at once, without a chance to clean up, and waits for
// its end. It is no error if it has ended before.
func (p *Process) Kill(ctx context.Context) error {
	p.id.signal(syscall.SIGKILL)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for process %d to end: %w", p.id.PID, context.Cause(ctx))
	}
}
