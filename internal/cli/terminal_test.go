package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/internal/cli"
)

// openTerminal returns the two ends of a new terminal: what its user types and
// sees, and what a program has as its standard streams.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// Control-C while the passphrase is asked for ends the program, and the
// terminal shows again what is typed.
func TestInterruptedPassphrase(t *testing.T) {
	_, terminal := openTerminal(t)
	out := filepath.Join(t.TempDir(), "secrets.age")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		env := cli.Env{Stdin: terminal, Stdout: &stderr, Stderr: &stderr, Now: time.Now}
		ended <- cli.Run(ctx, env, []string{"secrets", "init", "--out", out})
	}()
	for deadline := time.Now().Add(30 * time.Second); echoes(t, terminal); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the passphrase was not asked for")
		}
	}
	cancel(errors.New("interrupted"))
	select {
	case code := <-ended:
		if code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the program goes on")
	}
	want := "Passphrase of " + out + ": \nk8snode: error: reading the passphrase: interrupted\n"
	if stderr.String() != want {
		t.Errorf("got %q, want %q", &stderr, want)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal does not show what is typed")
	}
}
