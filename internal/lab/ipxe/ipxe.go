package ipxe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Options describe the machine.
type Options struct {
	// Client fetches, from the machine's address.
	Client *http.Client
	// URL is of the first script: what DHCP says.
	URL string
	// MAC is of its one card, with hyphens.
	MAC string
	// Console gets what the scripts say; nil discards it.
	Console io.Writer
}

// A Boot is what a machine starts in the end.
type Boot struct {
	// Kernel is the URL of the kernel, empty for the local disk.
	Kernel string
	// Arguments of the kernel.
	Arguments []string
	// Files are those of initrd commands, by their names.
	Files map[string][]byte
	// Disk says that the script wants the local disk, as opposed to one that gave up.
	Disk bool
}

// maxSteps bounds the commands of one boot: a script that waits for an operator runs
// for an hour.
const maxSteps = 100_000

// Run follows the scripts from the first one on.
func Run(ctx context.Context, opts Options) (Boot, error) {
	m := machine{opts: opts, vars: map[string]string{"net0/mac:hexhyp": opts.MAC}, boot: Boot{Files: map[string][]byte{}}}
	if m.opts.Console == nil {
		m.opts.Console = io.Discard
	}
	if err := m.chain(ctx, opts.URL); err != nil {
		return Boot{}, fmt.Errorf("loading the first script: %w", err)
	}
	for range maxSteps {
		if m.done {
			return m.boot, nil
		}
		if ctx.Err() != nil {
			return Boot{}, context.Cause(ctx)
		}
		if m.at >= len(m.script) {
			return m.boot, nil
		}
		line := m.script[m.at]
		m.at++
		if err := m.line(ctx, line); err != nil {
			return Boot{}, fmt.Errorf("line %d of the script, %q: %w", m.at, line, err)
		}
	}
	return Boot{}, errors.New("the scripts have no end")
}

type machine struct {
	opts   Options
	vars   map[string]string
	script []string
	at     int
	boot   Boot
	done   bool
}

// errFailed is a command that failed, which a script may go on after.
var errFailed = errors.New("the command failed")

// line runs commands that are joined by && and ||, as iPXE does: from left to right.
func (m *machine) line(ctx context.Context, line string) error {
	if line = strings.TrimSpace(line); line == "" || line[0] == '#' || line[0] == ':' {
		return nil
	}
	var err error
	for rest, join := line, "&&"; ; {
		at := joint.FindStringIndex(rest)
		command := rest
		if at != nil {
			command = rest[:at[0]]
		}
		if (join == "&&") == (err == nil) {
			err = m.command(ctx, strings.Fields(m.expand(command)))
			if err != nil && !errors.Is(err, errFailed) {
				return err
			}
		}
		if at == nil {
			break
		}
		join, rest = strings.TrimSpace(rest[at[0]:at[1]]), rest[at[1]:]
		if strings.TrimSpace(rest) == "" {
			// "command ||": whatever it was, go on.
			return nil
		}
	}
	return err
}

var (
	joint    = regexp.MustCompile(`\s(&&|\|\|)(\s|$)`)
	variable = regexp.MustCompile(`\$\{([^}]*)\}`)
)

func (m *machine) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string { return m.vars[v[2:len(v)-1]] })
}

func (m *machine) command(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	name, args := words[0], words[1:]
	flags, rest := options(args)
	switch {
	case name == "echo":
		fmt.Fprintln(m.opts.Console, strings.Join(args, " "))
	case name == "set" && len(args) == 2:
		variable, _, _ := strings.Cut(args[0], ":")
		m.vars[variable] = args[1]
	case name == "inc" && len(args) == 1:
		n, _ := strconv.Atoi(m.vars[args[0]])
		m.vars[args[0]] = strconv.Itoa(n + 1)
	case name == "iseq" && len(args) == 2:
		if args[0] != args[1] {
			return errFailed
		}
	case name == "isset":
		if len(args) == 0 {
			return errFailed
		}
	case name == "goto" && len(args) == 1:
		return m.jump(args[0])
	case name == "sleep" && len(args) == 1:
		return sleep(ctx, args[0])
	case name == "exit":
		m.done = true
	case name == "chain" && len(rest) == 1:
		return m.chain(ctx, rest[0])
	case name == "kernel" && len(rest) > 0:
		if _, err := m.fetch(ctx, rest[0]); err != nil {
			return err
		}
		m.boot.Kernel, m.boot.Arguments = rest[0], rest[1:]
	case name == "initrd" && len(rest) == 1 && flags["--name"] != "":
		content, err := m.fetch(ctx, rest[0])
		if err != nil {
			return err
		}
		m.boot.Files[flags["--name"]] = content
	case name == "boot":
		m.done = true
	case name == "sanboot":
		m.boot, m.done = Boot{Disk: true}, true
	default:
		return fmt.Errorf("%q is no command of our scripts", strings.Join(words, " "))
	}
	return nil
}

// options splits what begins with -- from the rest; --name and --drive have a value.
func options(args []string) (flags map[string]string, rest []string) {
	flags = map[string]string{}
	for i := 0; i < len(args); i++ {
		switch {
		case (args[i] == "--name" || args[i] == "--drive") && i+1 < len(args):
			flags[args[i]] = args[i+1]
			i++
		case strings.HasPrefix(args[i], "--") && len(rest) == 0:
			flags[args[i]] = "yes"
		default:
			rest = append(rest, args[i])
		}
	}
	return flags, rest
}

func (m *machine) jump(label string) error {
	for i, line := range m.script {
		if strings.TrimSpace(line) == ":"+label {
			m.at = i
			return nil
		}
	}
	return fmt.Errorf("there is no label %q", label)
}

func sleep(ctx context.Context, seconds string) error {
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(n) * time.Second):
		return nil
	}
}

// chain goes on with another script.
func (m *machine) chain(ctx context.Context, url string) error {
	content, err := m.fetch(ctx, url)
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	if lines[0] != "#!ipxe" {
		return fmt.Errorf("%s is no script", url)
	}
	m.script, m.at = lines, 1
	return nil
}

// fetch gets a file; whatever goes wrong is a failure that a script may handle.
func (m *machine) fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "iPXE/1.21.1")
	resp, err := m.opts.Client.Do(req)
	if err != nil {
		fmt.Fprintln(m.opts.Console, err)
		return nil, fmt.Errorf("%w: %w", errFailed, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		fmt.Fprintln(m.opts.Console, url, err)
		return nil, fmt.Errorf("%w: %s: %w", errFailed, url, err)
	}
	return content, nil
}
