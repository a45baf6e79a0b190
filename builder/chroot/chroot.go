package chroot

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/k8snode/k8snode/builder/source"
)

//go:embed scripts/enter.sh
var enter string

// Tools are the host programs that this package runs.
func Tools() []string { return []string{"unshare", "sh", "mount", "chroot", "tar"} }

// A Network says what commands in a root may reach.
type Network string

// The networks.
const (
	// HostNetwork is that of the host, with its name servers.
	HostNetwork Network = ""
	// NoNetwork is a loopback interface that is down.
	NoNetwork Network = "none"
)

// A Root is an unpacked root on the host.
type Root struct {
	// Dir is its absolute path.
	Dir string
	// Env is the environment of the tools of the host, "KEY=value". Commands
	// in the root do not see it.
	Env []string
	// Network of the commands.
	Network Network
}

// A Command is run in a root by its shell, as root, in its home folder.
type Command struct {
	// Line is a command line for /bin/sh.
	Line string
	// Args are the shell's $1 and so on.
	Args []string
	// Stdin, Stdout and Stderr may be nil, for nothing.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// An ExitError says that a command ran and did not succeed.
type ExitError struct {
	// Code is its exit status; 128 and more is a signal.
	Code int
}

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Run runs a command. An error that is an [*ExitError] is the command's own.
// When ctx ends, the command and all that it started are killed.
func (r Root) Run(ctx context.Context, c Command) error {
	cmd := exec.CommandContext(ctx, "unshare", r.args(c)...)
	cmd.Env = r.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	// A process outside of the root may have inherited the pipes; nobody waits
	// for it.
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code := exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal())
		}
		return &ExitError{Code: code}
	}
	if err != nil {
		return fmt.Errorf("running a command in the root: %w", err)
	}
	return nil
}

// atHome runs $1 in the home folder, which in images may be a link to what the
// first boot makes.
const atHome = `cd "$HOME" 2>/dev/null || { export HOME=/tmp; cd /tmp; }; line=$1; shift; exec /bin/sh -c "$line" sh "$@"`

// args is the command line of unshare(1).
func (r Root) args(c Command) []string {
	args := []string{
		"--mount", "--propagation", "private", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
	}
	resolv := "/etc/resolv.conf"
	if r.Network == NoNetwork {
		args, resolv = append(args, "--net"), ""
	}
	args = append(args, "sh", "-c", enter, "enter.sh", r.Dir, resolv,
		"/usr/bin/env", "-i", "HOME=/root", "USER=root", "LOGNAME=root", "LC_ALL=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"/bin/sh", "-c", atHome, "sh", c.Line)
	return append(args, c.Args...)
}

// UnpackOptions are the inputs of [Unpack].
type UnpackOptions struct {
	// Dir is the absolute path of an empty folder.
	Dir string
	// Base is the path of an archive, Over is one of what lies over it.
	Base string
	Over io.Reader
	// Replaced are the paths of Base that Over replaces, with all that is
	// below them.
	Replaced []string
	Env      []string
}

// Unpack makes a root.
func Unpack(ctx context.Context, o UnpackOptions) (Root, error) {
	r := Root{Dir: o.Dir, Env: o.Env}
	if err := r.extract(ctx, nil, "--file", o.Base); err != nil {
		return Root{}, fmt.Errorf("unpacking the root: %w", err)
	}
	in, err := os.OpenRoot(o.Dir)
	if err != nil {
		return Root{}, fmt.Errorf("unpacking the root: %w", err)
	}
	defer in.Close()
	for _, p := range o.Replaced {
		if err := in.RemoveAll(p); err != nil {
			return Root{}, fmt.Errorf("unpacking the root: %w", err)
		}
	}
	// Of a folder that is there already only the content matters.
	if err := r.extract(ctx, o.Over, "--file=-", "--no-overwrite-dir"); err != nil {
		return Root{}, fmt.Errorf("unpacking the root: %w", err)
	}
	for _, mountPoint := range []string{"dev", "proc", "run", "sys"} {
		if err := in.Mkdir(mountPoint, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return Root{}, fmt.Errorf("unpacking the root: %w", err)
		}
	}
	return r, nil
}

func (r Root) extract(ctx context.Context, stdin io.Reader, args ...string) error {
	cmd := exec.CommandContext(ctx, "tar", append(args, "--extract", "--directory", r.Dir,
		"--numeric-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*")...)
	cmd.Env, cmd.Stdin = r.Env, stdin
	_, err := source.Run(cmd)
	return err
}

// Pack writes an archive of some files of the root, without what is below
// them; no paths means all of the root.
func (r Root) Pack(ctx context.Context, archive string, paths []string) error {
	args := []string{
		"--numeric-owner", "--xattrs", "--xattrs-include=*", "--format=posix", "--sort=name",
		"--create", "--file", archive, "--directory", r.Dir,
	}
	if paths == nil {
		args = append(args, ".")
	} else {
		args = append(args, "--no-recursion", "--null", "--verbatim-files-from", "--files-from=-")
	}
	cmd := exec.CommandContext(ctx, "tar", args...)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00"))
	cmd.Env = r.Env
	if _, err := source.Run(cmd); err != nil {
		return fmt.Errorf("packing the root: %w", err)
	}
	return nil
}
