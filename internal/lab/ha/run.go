package ha

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

// PowerOn starts machines.
func (c *Cluster) PowerOn(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := c.start(ctx, name); err != nil {
			return err
		}
		c.mu.Lock()
		c.started[name] = c.opts.Now()
		c.mu.Unlock()
	}
	return nil
}

// PowerOff is the power cut.
func (c *Cluster) PowerOff(ctx context.Context, names ...string) error {
	for _, name := range names {
		c.mu.Lock()
		delete(c.started, name)
		c.mu.Unlock()
		if err := c.stop(ctx, name); err != nil {
			return err
		}
		c.opts.Logger.Info("power cut", "machine", name)
	}
	return nil
}

// running are the machines that should run.
func (c *Cluster) running() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.started)
}

// Run has a guest run a command, which must succeed, and returns what it
// printed.
func (c *Cluster) Run(ctx context.Context, name, command string) (string, error) {
	result, err := c.machines[name].Guest().Run(ctx, command)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if result.Code != 0 {
		return result.Stdout, fmt.Errorf("%s: %q ended with %d: %s", name, command, result.Code, strings.TrimSpace(result.Stderr))
	}
	return strings.TrimSpace(result.Stdout), nil
}

// WaitReady waits until nodes are Ready in the boot that their machines are in:
// Kubernetes takes a node that is gone for Ready for a while.
func (c *Cluster) WaitReady(ctx context.Context, names ...string) error {
	ready := map[string]bool{}
	return c.Wait(ctx, "nodes to be Ready", func(ctx context.Context) (string, bool, error) {
		var nodes kube.NodeList
		if err := c.Kubectl.Get(ctx, &nodes, "nodes"); err != nil {
			return lastLine(err.Error()), false, nil // No API server answers yet.
		}
		seen, _ := nodes.AllReady(names)
		for _, name := range names {
			if ready[name] {
				continue
			}
			if _, ok := nodes.AllReady([]string{name}); !ok {
				continue
			}
			boot, err := c.boot(ctx, name)
			if err != nil {
				return "", false, err
			}
			if n, _ := nodes.Node(name); n.Boot() != boot {
				seen += "; " + name + " has not reported since its boot"
				continue
			}
			ready[name] = true
			c.opts.Logger.Info("node is Ready", "node", name, "since power on", c.since(name))
		}
		return seen, len(ready) == len(names), nil
	})
}

// bootTimeout is how long a machine may take until it answers.
const bootTimeout = 5 * time.Minute

// boot is the identifier of the boot that a machine is in.
func (c *Cluster) boot(ctx context.Context, name string) (string, error) {
	ctx, stop := context.WithTimeoutCause(ctx, bootTimeout, fmt.Errorf("%s does not answer", name))
	defer stop()
	return c.machines[name].Guest().Ready(ctx)
}

// since is how long ago a machine was powered on.
func (c *Cluster) since(name string) time.Duration {
	return c.opts.Now().Sub(c.running()[name]).Round(100 * time.Millisecond)
}

// held is what a machine says that cannot go on.
var held = regexp.MustCompile(`k8snode: HOLD|Kernel panic - not syncing|You are in emergency mode`)

// Wait looks until something holds. It ends when nothing changes for the
// story's patience, or when a machine is off or can do nothing any more.
func (c *Cluster) Wait(ctx context.Context, what string, observe func(context.Context) (news string, done bool, err error)) error {
	wait := kube.Waiter{What: what, Every: time.Second, Stall: c.opts.Stall, Now: c.opts.Now}
	return wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		return observe(ctx)
	})
}

// dead says which of the machines that should run does not, or cannot go on.
func (c *Cluster) dead() error {
	for name := range c.running() {
		m := c.machines[name]
		if c.opts.Netboot {
			if err := c.firmwareEnded(name); err != nil {
				return err
			}
			continue
		}
		select {
		case <-m.Exited():
			if _, still := c.running()[name]; !still {
				continue
			}
			err := m.Wait(context.Background())
			return fmt.Errorf("machine %s is off (%w)", name, cmp.Or(err, errors.New("exit status 0")))
		default:
		}
		console, err := os.ReadFile(m.Console())
		if err != nil {
			return err
		}
		if line := held.Find(console); line != nil {
			return fmt.Errorf("the console of %s says %q", name, line)
		}
	}
	return nil
}

// Explain adds to an error where to look, and what is there.
func (c *Cluster) Explain(ctx context.Context, err error) error {
	var text strings.Builder
	fmt.Fprintf(&text, "work folder: %s\n", c.opts.Dir)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	for _, name := range c.Nodes() {
		m := c.machines[name]
		if m == nil {
			continue
		}
		if status, err := m.Inspect(ctx); err != nil || !status.Running {
			fmt.Fprintf(&text, "%s is off\n", name)
		} else {
			fmt.Fprintf(&text, "journal of %s: %s\n", name, c.saveJournal(ctx, name))
		}
		fmt.Fprintf(&text, "console of %s, %s, ends:\n%s\n", name, m.Console(), lab.Tail(m.Console()))
	}
	return fmt.Errorf("%w\n%s", err, text.String())
}

// saveJournal keeps the journal of a machine that answers, beside its console.
func (c *Cluster) saveJournal(ctx context.Context, name string) string {
	out, err := c.Run(ctx, name, "systemctl --failed --no-legend --plain; journalctl -b -o short-monotonic --no-pager")
	if err != nil {
		return "not saved: " + lastLine(err.Error())
	}
	path := filepath.Join(c.opts.Dir, name, "journal.log")
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		return "not saved: " + err.Error()
	}
	return path
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
