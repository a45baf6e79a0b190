package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// commandTime is how long a program may take.
const commandTime = 2 * time.Minute

// IPMI is a controller that ipmitool(1) speaks to, by IPMI 2.0 over the network.
type IPMI struct {
	// Address is HOST or HOST:PORT.
	Address        string
	User, Password string
	// CipherSuite is 3 or 17; 0 asks the controller, which takes some of them long.
	CipherSuite int
	// Program is ipmitool by default, Environ its environment but for the password.
	Program string
	Environ []string
}

// State asks for the power of the chassis.
func (i IPMI) State(ctx context.Context) (State, error) {
	out, err := i.run(ctx, "chassis", "power", "status")
	if err != nil {
		return "", err
	}
	switch strings.ToLower(strings.TrimSpace(out)) {
	case "chassis power is on":
		return On, nil
	case "chassis power is off":
		return Off, nil
	}
	return "", fmt.Errorf("ipmitool says %q, and not whether the power is on", strings.TrimSpace(out))
}

// Set switches the power of the chassis.
func (i IPMI) Set(ctx context.Context, s State) error {
	_, err := i.run(ctx, "chassis", "power", string(s))
	return err
}

// BootNetwork sets the boot device for the next start, by UEFI.
func (i IPMI) BootNetwork(ctx context.Context) error {
	_, err := i.run(ctx, "chassis", "bootdev", "pxe", "options=efiboot")
	return err
}

func (i IPMI) run(ctx context.Context, args ...string) (string, error) {
	host, port, err := net.SplitHostPort(i.Address)
	if err != nil {
		host, port = i.Address, "623"
	}
	program := i.Program
	if program == "" {
		program = "ipmitool"
	}
	args = append([]string{"-I", "lanplus", "-H", host, "-p", port, "-U", i.User, "-E"}, append(i.cipher(), args...)...)
	// In the environment: arguments are for everybody to see.
	out, err := execute(ctx, append(slices.Clone(i.Environ), "IPMI_PASSWORD="+i.Password), program, args...)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed: apt-get install ipmitool", program)
	}
	return out, err
}

func (i IPMI) cipher() []string {
	if i.CipherSuite == 0 {
		return nil
	}
	return []string{"-C", strconv.Itoa(i.CipherSuite)}
}

// Command is a controller that is a program: it is given a verb (status, on, off,
// network) and the node's name, after its own arguments. To status it answers on or
// off; to network it makes the next start boot from the network.
type Command struct {
	Node    string
	Args    []string
	Environ []string
}

// State runs the program with the verb status.
func (c Command) State(ctx context.Context) (State, error) {
	out, err := c.run(ctx, "status")
	if err != nil {
		return "", err
	}
	switch s := State(strings.TrimSpace(out)); s {
	case On, Off, Between:
		return s, nil
	}
	return "", fmt.Errorf("%s says %q to status, and neither %s nor %s", c.Args[0], strings.TrimSpace(out), On, Off)
}

// Set runs the program with the verb on or off.
func (c Command) Set(ctx context.Context, s State) error {
	_, err := c.run(ctx, string(s))
	return err
}

// BootNetwork runs the program with the verb network.
func (c Command) BootNetwork(ctx context.Context) error {
	_, err := c.run(ctx, "network")
	return err
}

func (c Command) run(ctx context.Context, verb string) (string, error) {
	args := append(append([]string{}, c.Args[1:]...), verb, c.Node)
	return execute(ctx, c.Environ, c.Args[0], args...)
}

// execute runs a program and returns what it prints. The error has its last line, and
// the words after its name that say what it was asked for.
func execute(ctx context.Context, env []string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	// A child of it that stays keeps nobody waiting.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		what := program + " " + strings.Join(args[max(0, len(args)-2):], " ")
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		if last := lines[len(lines)-1]; last != "" {
			return "", fmt.Errorf("running %s: %w: %s", what, err, last)
		}
		return "", fmt.Errorf("running %s: %w", what, err)
	}
	return out.String(), nil
}
