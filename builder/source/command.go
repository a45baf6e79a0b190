package source

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// ErrMissingTool says that a program of the host is not installed.
var ErrMissingTool = errors.New("missing host tool")

// A CommandError is a failed external command with the end of its output.
type CommandError struct {
	Command string
	Output  string
	Err     error
}

func (e *CommandError) Error() string {
	msg := fmt.Sprintf("running %s: %v", e.Command, e.Err)
	if out := strings.TrimSpace(e.Output); out != "" {
		msg += "\n  " + strings.ReplaceAll(tail(out, 25), "\n", "\n  ")
	}
	return msg
}

func (e *CommandError) Unwrap() error { return e.Err }

// Run runs a prepared command and returns its standard output. A program that
// is not installed is [ErrMissingTool]; any other failure is a
// [CommandError].
func Run(cmd *exec.Cmd) ([]byte, error) {
	var out, all bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &all
	}
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("%w: %s is not installed; run scripts/host-packages.sh", ErrMissingTool, cmd.Path)
		}
		text := all.String()
		if text == "" && !bytes.ContainsRune(out.Bytes(), 0) {
			text = out.String() // unless it is data
		}
		return nil, &CommandError{Command: strings.Join(cmd.Args, " "), Output: text, Err: err}
	}
	return out.Bytes(), nil
}

// LookTools returns an [ErrMissingTool] that names every missing program.
func LookTools(names ...string) error {
	var missing []string
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			missing = append(missing, n)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; run scripts/host-packages.sh", ErrMissingTool, strings.Join(missing, ", "))
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
