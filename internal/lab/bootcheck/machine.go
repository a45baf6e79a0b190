package bootcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
)

// macAddress of every machine: each boots alone.
const macAddress = "52:54:00:6b:00:0b"

// A machine is one that boots, and what is known of it.
type machine struct {
	*lab.QEMU
	story     *story
	dir       string
	poweredOn time.Time
}

// newMachine makes a machine whose files are in a folder of its name.
func (s *story) newMachine(ctx context.Context, opts lab.QEMUOptions) (*machine, error) {
	opts.Dir = filepath.Join(s.opts.Dir, opts.Name)
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	opts.Accelerator = s.opts.Accelerator
	// A first boot waits for a network, even if it needs none.
	opts.Card, opts.MAC = lab.Alone, macAddress
	qemu, err := lab.NewQEMU(ctx, s.network, opts)
	if err != nil {
		return nil, err
	}
	m := &machine{QEMU: qemu, story: s, dir: opts.Dir}
	s.machines = append(s.machines, m)
	return m, nil
}

// powerOn presses the power button.
func (m *machine) powerOn(ctx context.Context) error {
	m.poweredOn = m.story.opts.Now()
	return m.Start(ctx)
}

// stuck is what a machine says that cannot go on.
var stuck = regexp.MustCompile(`k8snode: HOLD|Kernel panic - not syncing|You are in emergency mode`)

// told is the end of what it says, which names the cause.
var told = regexp.MustCompile(`k8snode: power-cycle this machine|end Kernel panic`)

// toldWithin is how long it may take to say so.
const toldWithin = 20 * time.Second

// watch returns a context that ends when the machine can do nothing any more,
// or after some time. The cause says which.
func (m *machine) watch(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, stopTimer := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took more than %s", limit))
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		console := lab.NewConsole(m.Console())
		line, err := console.WaitFor(ctx, stuck)
		if err == nil {
			rest, stop := context.WithTimeout(ctx, toldWithin)
			defer stop()
			_, _ = console.WaitFor(rest, told) // the cause is the first line, with this one or without
			cancel(fmt.Errorf("the console says %q", line))
		}
	}()
	go func() {
		select {
		case <-m.Exited():
			cancel(errors.New("the machine is off"))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		stopTimer()
	}
}

// up waits until the system answers, in another boot than the last one.
func (m *machine) up(ctx context.Context, last string) (bootID string, err error) {
	ctx, stop := m.watch(ctx, m.story.opts.Patience)
	defer stop()
	for bootID = last; bootID == last; {
		if bootID, err = m.Guest().Ready(ctx); err != nil {
			return "", err
		}
		if bootID == last {
			pause(ctx, time.Second)
		}
	}
	m.story.log("system answers", m)
	return bootID, nil
}

// settle waits until all units of the boot have started, or failed.
func (m *machine) settle(ctx context.Context) error {
	ctx, stop := m.watch(ctx, m.story.opts.Patience)
	defer stop()
	result, err := m.Guest().Run(ctx, "systemctl is-system-running --wait")
	if err != nil {
		return err
	}
	m.story.log("system started", m, "state", strings.TrimSpace(result.Stdout))
	return nil
}

// boot waits for a system that has started and is as it should be. It returns
// the identifier of the boot.
func (m *machine) boot(ctx context.Context, last string, checks []Check) (bootID string, err error) {
	if bootID, err = m.up(ctx, last); err != nil {
		return "", err
	}
	if err := m.settle(ctx); err != nil {
		return "", err
	}
	return bootID, m.verify(ctx, checks)
}

func (m *machine) verify(ctx context.Context, checks []Check) error {
	ctx, stop := m.watch(ctx, m.story.opts.Patience)
	defer stop()
	if err := Verify(ctx, m.Guest(), checks); err != nil {
		return err
	}
	m.story.log("checks passed", m, "checks", len(checks))
	return nil
}

// reboot sees that Ignition ran in this boot and not in the next one, and that
// what was written is kept.
func (m *machine) reboot(ctx context.Context, last string) error {
	before := []Check{
		{"Ignition ran", ignitionLines, func(got string) error {
			if got == "0" {
				return errors.New("its journal is empty")
			}
			return nil
		}},
		{"a state is left", "echo kept >/etc/k8snode-lab-kept && echo kept >/var/k8snode-lab-kept && sync && cat /etc/machine-id >/var/k8snode-lab-id", nil},
	}
	if err := m.verify(ctx, before); err != nil {
		return err
	}
	// The answer to this command must arrive before the system goes down.
	if err := m.verify(ctx, []Check{{"a reboot is planned", "systemd-run --quiet --on-active=1 systemctl reboot", nil}}); err != nil {
		return err
	}
	_, err := m.boot(ctx, last, []Check{
		noFailedUnit(),
		{"Ignition did not run again", ignitionLines, equals("0")},
		{"the state is kept", "cat /etc/k8snode-lab-kept /var/k8snode-lab-kept && cmp /etc/machine-id /var/k8snode-lab-id", equals("kept\nkept")},
	})
	return err
}

// ignitionLines counts what Ignition itself wrote in this boot.
const ignitionLines = "journalctl -b -o cat -t ignition | wc -l"

// journalPatience is for a machine that is busy with what did not come to an end.
const journalPatience = 2 * time.Minute

// saveJournal keeps the journal of a machine that answers, beside its console.
func (m *machine) saveJournal(ctx context.Context) string {
	ctx, stop := m.watch(ctx, journalPatience)
	defer stop()
	result, err := m.Guest().Run(ctx, "systemctl --failed --no-legend --plain; journalctl -b -o short-monotonic --no-pager")
	if err != nil {
		return "not saved: " + err.Error()
	}
	path := filepath.Join(m.dir, "journal.log")
	if err := os.WriteFile(path, []byte(result.Stdout), 0o600); err != nil {
		return "not saved: " + err.Error()
	}
	return path
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
