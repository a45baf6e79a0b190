package command_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/command"
)

func runner(t *testing.T, body string) command.Runner {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return command.Runner{Dir: dir}
}

func TestRun(t *testing.T) {
	r := runner(t, `echo "out $1"; echo "err $2" >&2`)
	var out bytes.Buffer
	if err := r.Run(context.Background(), &out, "tool", "a b", "c"); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "out a b\nerr c\n" {
		t.Errorf("got %q", got)
	}
	if err := r.Run(context.Background(), nil, "tool"); err != nil {
		t.Error(err)
	}
}

func TestOutput(t *testing.T) {
	r := runner(t, `echo result; echo noise >&2`)
	out, err := r.Output(context.Background(), "tool")
	if err != nil || string(out) != "result\n" {
		t.Errorf("got %q, %v", out, err)
	}
	r = runner(t, `echo half; echo why >&2; exit 3`)
	out, err = r.Output(context.Background(), "tool", "x")
	if out != nil || err == nil || err.Error() != "running tool x: exit status 3: why" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestRunFails(t *testing.T) {
	r := runner(t, `head -c 9000 /dev/zero | tr '\0' a; echo; echo the end; exit 7`)
	err := r.Run(context.Background(), nil, "tool", "--flag")
	var failed *command.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	if len(failed.Output) != 4096 || !strings.HasSuffix(failed.Output, "a\nthe end\n") {
		t.Errorf("the output has %d bytes and ends in %q", len(failed.Output), failed.Output[len(failed.Output)-10:])
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v", failed.Err)
	}
	err = r.Run(context.Background(), nil, "absent")
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "running absent: ") {
		t.Errorf("got %v", err)
	}
}

func TestCancelTerminates(t *testing.T) {
	r := runner(t, `trap 'echo cleaned; exit 9' TERM; echo ready; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := r.Run(ctx, &out, "tool"); err == nil {
		t.Error("a terminated program succeeded")
	}
	if got := out.String(); got != "ready\ncleaned\n" {
		t.Errorf("got %q", got)
	}
}
