package lab_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/internal/lab"
)

// serveGuest runs the guest's script on this host. A pseudo terminal plays the
// serial port, and its other end is joined to a Unix socket, as QEMU does.
func serveGuest(t *testing.T) (socket string) {
	t.Helper()
	host, port := openPort(t)
	socket = filepath.Join(shortDir(t), "port")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go join(l, host)

	script := filepath.Join(t.TempDir(), "k8snode-lab.sh")
	if err := os.WriteFile(script, []byte(lab.GuestScript()), 0o600); err != nil {
		t.Fatal(err)
	}
	startGuest(t, script, port)
	return socket
}

func startGuest(t *testing.T, script, port string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", script, port)
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// openPort returns the host's end of a line, and the path of the guest's.
func openPort(t *testing.T) (host *os.File, port string) {
	t.Helper()
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { host.Close() })
	fd := int(host.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	// A serial port of virtio neither echoes nor edits.
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	state.Iflag, state.Oflag, state.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, state); err != nil {
		t.Fatal(err)
	}
	return host, fmt.Sprintf("/dev/pts/%d", number)
}

// join serves one connection after the other.
func join(l net.Listener, line io.ReadWriter) {
	fromGuest := make(chan []byte)
	go func() {
		for {
			buf := make([]byte, 4096)
			n, err := line.Read(buf)
			if err != nil {
				return
			}
			fromGuest <- buf[:n]
		}
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = io.Copy(line, conn)
		}()
		for open := true; open; {
			select {
			case data := <-fromGuest:
				_, _ = conn.Write(data)
			case <-over:
				open = false
			}
		}
	}
}

func TestGuestRunsCommands(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	guest := lab.NewGuest(lab.Socket(serveGuest(t)))
	defer guest.Close()

	bootID, err := guest.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if bootID != strings.TrimSpace(string(want)) {
		t.Errorf("got boot %q, want %q", bootID, want)
	}
	for _, tt := range []struct {
		command string
		want    lab.Result
	}{
		{"echo out; echo err >&2", lab.Result{Stdout: "out\n", Stderr: "err\n"}},
		{"exit 7", lab.Result{Code: 7}},
		{"cat", lab.Result{}},
		{"printf 'a b\\n\\377\\000'", lab.Result{Stdout: "a b\n\xff\x00"}},
		{"# a script\nset -e\nfalse\necho unreached\n", lab.Result{Code: 1}},
	} {
		got, err := guest.Run(ctx, tt.command)
		if err != nil {
			t.Fatalf("%s: %v", tt.command, err)
		}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.command, got, tt.want)
		}
	}
	long, err := guest.Run(ctx, "yes 0123456789 | head -n 50000")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("0123456789\n", 50000); long.Stdout != want {
		t.Errorf("a long output has %d bytes, want %d", len(long.Stdout), len(want))
	}
	// A new connection finds the guest again.
	guest.Close()
	if got, err := guest.Run(ctx, "echo again"); err != nil || got.Stdout != "again\n" {
		t.Errorf("after hanging up: got %+v, %v", got, err)
	}
}

func TestGuestThatNeverAnswers(t *testing.T) {
	power := errors.New("the machine is off")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(power) })
	guest := lab.NewGuest(lab.Socket(filepath.Join(t.TempDir(), "none")))
	_, err := guest.Run(ctx, "uname\nid")
	if want := `running "uname ..." in the guest: the machine is off`; errorText(err) != want || !errors.Is(err, power) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// serveAnswers is a guest whose answers are given: each is sent when a line
// came that begins with "ping" or "run"; %s is the ID of that line. After the
// last answer it hangs up.
func serveAnswers(t *testing.T, answers ...string) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "port")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for len(answers) > 0 {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			lines := bufio.NewScanner(conn)
			for len(answers) > 0 && lines.Scan() {
				fields := strings.Fields(lines.Text())
				if answers[0] == "" {
					answers = answers[1:]
					break
				}
				fmt.Fprintf(conn, answers[0], fields[1])
				answers = answers[1:]
			}
			conn.Close()
		}
	}()
	return socket
}

func TestGuestLine(t *testing.T) {
	out := base64.StdEncoding.EncodeToString([]byte("yes"))
	for _, tt := range []struct {
		name    string
		answers []string
		want    lab.Result
		wantErr string
	}{
		{name: "late answers to others", answers: []string{"pong 0 b\ndone 0 9 : :\npong %s b\n", "pong 1 b\ndone 0 9 : :\ndone %s 3 :" + out + " :\n"}, want: lab.Result{Code: 3, Stdout: "yes"}},
		{name: "the line breaks before the guest answers", answers: []string{"", "pong %s b\n", "done %s 0 : :" + out + "\n"}, want: lab.Result{Stderr: "yes"}},
		{name: "the line breaks while the command runs", answers: []string{"pong %s b\n", ""}, wantErr: "the line to the guest broke"},
		{name: "no colon", answers: []string{"pong %s b\n", "done %s 0 : x\n"}, wantErr: "the guest's answer has no colon before output 2"},
		{name: "short", answers: []string{"pong %s b\n", "done %s 0\n"}, wantErr: "the guest's answer has 1 fields, want 3"},
		{name: "no code", answers: []string{"pong %s b\n", "done %s x : :\n"}, wantErr: `reading the guest's exit code: strconv.Atoi: parsing "x": invalid syntax`},
		{name: "not base64", answers: []string{"pong %s b\n", "done %s 0 :! :\n"}, wantErr: "reading the guest's output 1: illegal base64 data at input byte 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			guest := lab.NewGuest(lab.Socket(serveAnswers(t, tt.answers...)))
			defer guest.Close()
			got, err := guest.Run(ctx, "true")
			wantErr := tt.wantErr
			if wantErr != "" {
				wantErr = `running "true" in the guest: ` + wantErr
			}
			if got != tt.want || errorText(err) != wantErr {
				t.Errorf("got %+v and error %q, want %+v and %q", got, errorText(err), tt.want, wantErr)
			}
		})
	}
}

// A guest of User-Mode Linux is behind two pipes, and a terminal that echoes
// until its script has told it not to.
func TestGuestBehindPipes(t *testing.T) {
	host, port := openPort(t)
	state, err := unix.IoctlGetTermios(int(host.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	state.Lflag |= unix.ECHO | unix.ICANON
	if err := unix.IoctlSetTermios(int(host.Fd()), unix.TCSETS, state); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	guest := lab.NewGuest(lab.Pipes(in, out))
	defer guest.Close()

	// There is no machine yet.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	if _, err := guest.Ready(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without pipes: %v", err)
	}
	cancel()

	// The machine holds both ends of both, as uml.sh does.
	ends := map[string]*os.File{}
	for _, pipe := range []string{in, out} {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		if ends[pipe], err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
		defer ends[pipe].Close()
	}
	go func() { _, _ = io.Copy(host, ends[in]) }()
	go func() { _, _ = io.Copy(ends[out], host) }()
	script := filepath.Join(dir, "k8snode-lab.sh")
	if err := os.WriteFile(script, []byte(lab.GuestScript()), 0o600); err != nil {
		t.Fatal(err)
	}
	startGuest(t, script, port)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Longer than a line of a terminal that cuts them.
	long := strings.Repeat("x", 6000)
	result, err := guest.Run(ctx, "echo "+long)
	if err != nil || result.Stdout != long+"\n" {
		t.Errorf("got %d bytes, %v", len(result.Stdout), err)
	}
}
