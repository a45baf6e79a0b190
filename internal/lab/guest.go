package lab

import (
	"bufio"
	"context"
	_ "embed" // for the guest's files
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// GuestPort is the name of the serial port through which a guest is asked to
// run commands.
const GuestPort = "org.k8snode.lab"

// QEMUPort is where the guest of a [QEMU] machine reads what it is asked.
const QEMUPort = "/dev/virtio-ports/" + GuestPort

// What a guest needs to answer: a script, its path, and a unit that runs it,
// to be enabled. A test's Ignition config brings them; no image holds them.
const (
	GuestScriptPath = "/etc/k8snode-lab.sh"
	GuestUnitName   = "k8snode-lab.service"
)

//go:embed guest/k8snode-lab.sh
var guestScript string

//go:embed guest/k8snode-lab.service
var guestUnit string

// GuestScript is the file at [GuestScriptPath].
func GuestScript() string { return guestScript }

// GuestUnit is the content of the unit [GuestUnitName]; port is where the guest
// finds the port: [QEMUPort] or [UMLPort].
func GuestUnit(port string) string { return strings.Replace(guestUnit, "PORT", port, 1) }

// guestPoll is how often a guest that does not answer is asked again.
const guestPoll = time.Second

// Result is how a command in the guest ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// A Guest runs commands in a machine's operating system. Its methods may be
// called from several goroutines, but the guest does one thing at a time.
type Guest struct {
	dial Dial

	mu   sync.Mutex
	last int
	line *guestLine
}

// A Dial connects to the host's end of a guest's serial port.
type Dial func(context.Context) (io.ReadWriteCloser, error)

// Socket is the port of a [QEMU] machine.
func Socket(path string) Dial {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// Pipes are the port of a [UML] machine: two named pipes, one for each
// direction. It is an error while the machine is off.
func Pipes(in, out string) Dial {
	return func(context.Context) (io.ReadWriteCloser, error) {
		requests, err := os.OpenFile(in, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		answers, err := os.OpenFile(out, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, errors.Join(err, requests.Close())
		}
		return pipes{answers, requests}, nil
	}
}

type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

// NewGuest speaks to a guest, which need not exist yet.
func NewGuest(dial Dial) *Guest { return &Guest{dial: dial} }

// guestLine is one connection to the port. Its lines are read until it
// breaks: then answers is closed.
type guestLine struct {
	conn    io.ReadWriteCloser
	answers chan string
	// hungUp is closed when nobody takes answers any more.
	hungUp chan struct{}
}

// Ready waits until the guest answers, and returns the identifier of its boot
// (/proc/sys/kernel/random/boot_id), which is another one after a reboot.
func (g *Guest) Ready(ctx context.Context) (bootID string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bootID, err = g.ready(ctx)
	if err != nil {
		return "", fmt.Errorf("waiting for the guest: %w", err)
	}
	return bootID, nil
}

// Run waits until the guest answers, has its shell run a command as root, and
// waits for the end of it. An exit code other than 0 is no error. The command
// runs once or not at all; when the error says that the line broke or that ctx
// ended, it may still be running.
func (g *Guest) Run(ctx context.Context, command string) (Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	result, err := g.run(ctx, command)
	if err != nil {
		return Result{}, fmt.Errorf("running %q in the guest: %w", firstLine(command), err)
	}
	return result, nil
}

// Close hangs up; the next call connects again.
func (g *Guest) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hangUp()
}

func (g *Guest) run(ctx context.Context, command string) (Result, error) {
	if _, err := g.ready(ctx); err != nil {
		return Result{}, err
	}
	id := g.nextID()
	if err := g.line.send("run " + id + " " + base64.StdEncoding.EncodeToString([]byte(command))); err != nil {
		g.hangUp()
		return Result{}, err
	}
	for {
		select {
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case answer, ok := <-g.line.answers:
			if !ok {
				g.hangUp()
				return Result{}, errors.New("the line to the guest broke")
			}
			if rest, ours := strings.CutPrefix(answer, "done "+id+" "); ours {
				return parseResult(rest)
			}
		}
	}
}

// ready asks until the guest answers. What it did not read of an earlier
// question is no harm: every question has an ID.
func (g *Guest) ready(ctx context.Context) (bootID string, err error) {
	tick := time.NewTicker(guestPoll)
	defer tick.Stop()
	id := g.nextID()
	for {
		if g.line == nil {
			g.line = dialGuest(ctx, g.dial)
		}
		var answers <-chan string
		if g.line != nil {
			answers = g.line.answers
			if err := g.line.send("ping " + id); err != nil {
				g.hangUp()
				answers = nil
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return "", context.Cause(ctx)
			case <-tick.C:
				waiting = false
			case answer, ok := <-answers:
				if !ok {
					g.hangUp()
					answers = nil
				}
				if bootID, ours := strings.CutPrefix(answer, "pong "+id+" "); ours {
					return bootID, nil
				}
			}
		}
	}
}

func (g *Guest) nextID() string {
	g.last++
	return strconv.Itoa(g.last)
}

func (g *Guest) hangUp() {
	if g.line != nil {
		close(g.line.hungUp)
		g.line.conn.Close()
		g.line = nil
	}
}

// dialGuest returns nil while there is nobody to connect to.
func dialGuest(ctx context.Context, dial Dial) *guestLine {
	conn, err := dial(ctx)
	if err != nil {
		return nil
	}
	line := &guestLine{conn: conn, answers: make(chan string), hungUp: make(chan struct{})}
	go line.read()
	return line
}

// read ends with the connection. Between two questions it waits with a late
// answer in its hand, which the next one skips.
func (l *guestLine) read() {
	defer close(l.answers)
	r := bufio.NewReader(l.conn)
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		select {
		case l.answers <- strings.TrimSuffix(text, "\n"):
		case <-l.hungUp:
			return
		}
	}
}

func (l *guestLine) send(text string) error {
	_, err := l.conn.Write([]byte(text + "\n"))
	return err
}

// parseResult reads "CODE :STDOUT :STDERR".
func parseResult(text string) (Result, error) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 {
		return Result{}, fmt.Errorf("the guest's answer has %d fields, want 3", len(fields))
	}
	code, err := strconv.Atoi(fields[0])
	if err != nil {
		return Result{}, fmt.Errorf("reading the guest's exit code: %w", err)
	}
	result := Result{Code: code}
	for i, out := range []*string{&result.Stdout, &result.Stderr} {
		encoded, ok := strings.CutPrefix(fields[i+1], ":")
		if !ok {
			return Result{}, fmt.Errorf("the guest's answer has no colon before output %d", i+1)
		}
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return Result{}, fmt.Errorf("reading the guest's output %d: %w", i+1, err)
		}
		*out = string(decoded)
	}
	return result, nil
}

// firstLine names a script in an error.
func firstLine(s string) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		line += " ..."
	}
	return line
}
