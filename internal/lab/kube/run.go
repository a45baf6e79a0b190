package kube

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// Run executes a command, shown in an error as it says, and returns its standard
// output; the error carries what it said on standard error.
func Run(cmd *exec.Cmd, shown string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running %q: %w: %s", shown, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
