package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// graceTime is what a program has between SIGTERM and SIGKILL.
const graceTime = 10 * time.Second

// tailSize is how much of the output an Error carries.
const tailSize = 4 << 10

// A Runner runs external programs. The zero value finds them in PATH.
type Runner struct {
	// Dir is the folder of the programs, in place of PATH.
	Dir string
}

// An Error says which program failed, how, and what it said last.
type Error struct {
	// Command is the name and the arguments.
	Command []string
	// Output is the end of stdout and stderr, or of stderr alone when stdout
	// was the result.
	Output string
	Err    error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("running %s: %v", strings.Join(e.Command, " "), e.Err)
	if out := strings.TrimSpace(e.Output); out != "" {
		text += ": " + out
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Run runs name with args and copies stdout and stderr to out, which may be
// nil. It returns an [*Error] when the program cannot be started or fails.
func (r Runner) Run(ctx context.Context, out io.Writer, name string, args ...string) error {
	if out == nil {
		out = io.Discard
	}
	tail := &tailWriter{}
	both := &lockedWriter{w: io.MultiWriter(out, tail)}
	cmd := r.command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = both, both
	return wrap(cmd.Run(), name, args, tail)
}

// Output runs name with args and returns its stdout.
func (r Runner) Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	tail := &tailWriter{}
	cmd := r.command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = &out, tail
	if err := wrap(cmd.Run(), name, args, tail); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (r Runner) command(ctx context.Context, name string, args []string) *exec.Cmd {
	path := name
	if r.Dir != "" {
		path = filepath.Join(r.Dir, name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = graceTime
	return cmd
}

func wrap(err error, name string, args []string, tail *tailWriter) error {
	if err == nil {
		return nil
	}
	return &Error{Command: append([]string{name}, args...), Output: tail.String(), Err: err}
}
