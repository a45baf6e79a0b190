package etcdguard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

const (
	// mountInfo lists the mounts of this process: proc_pid_mountinfo(5).
	mountInfo = "/proc/self/mountinfo"

	// ownerFile, on the partition, says whose data it has.
	ownerFile = "k8snode-member.json"

	// DefaultPause is the time between two looks.
	DefaultPause = 5 * time.Second
	// DefaultRepeat is the time after which the same reason to wait is logged
	// again.
	DefaultRepeat = 30 * time.Second

	// DefaultSettle is longer than a machine takes from its network to its etcd.
	DefaultSettle = 15 * time.Second

	portTimeout = 3 * time.Second
	// callTimeout is longer than an election of the slow tuning.
	callTimeout = 6 * time.Second
)

// A Peer is a member of etcd that is asked.
type Peer interface {
	Members(ctx context.Context) ([]etcd.Member, error)
	Status(ctx context.Context, endpoint string) (memberID uint64, err error)
	Remove(ctx context.Context, id uint64) error
	AddLearner(ctx context.Context, peerURL string) error
	Close()
}

// Options of [Run].
type Options struct {
	Config node.Config
	// Instance is the one that is decided about; empty means node.Main.
	Instance node.Instance
	// Root is put before every path; "" is the running system.
	Root string
	// Now is the clock; required.
	Now func() time.Time
	// Pause is the time between two looks; zero means DefaultPause.
	Pause time.Duration
	// Log gets what is done, and why nothing is; nil discards it.
	Log *slog.Logger

	// Mounted reports whether a folder is a mount point; nil asks the kernel.
	Mounted func(path string) (bool, error)
	// Connect prepares to ask the member at a client URL; nil uses the
	// certificates of the node.
	Connect func(endpoint string) (Peer, error)
	// Settle is how long a member must find, without a break, that it may begin
	// a cluster that has others, before it does: those may have data, and just
	// be starting. Zero means DefaultSettle, and a negative one none.
	Settle time.Duration
	// Runner finds etcdutl, which restores snapshots.
	Runner command.Runner
	// Port looks at a URL; nil tries to connect.
	Port func(ctx context.Context, url string) Port
}

func (o Options) withDefaults() Options {
	o.Instance = cmp.Or(o.Instance, node.Main)
	// From here on, etcd is the instance.
	o.Config.Etcd = o.Instance.Of(o.Config)
	if o.Pause == 0 {
		o.Pause = DefaultPause
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Mounted == nil {
		o.Mounted = mounted
	}
	if o.Connect == nil {
		o.Connect = func(endpoint string) (Peer, error) {
			opts := etcd.NodeFiles(filepath.Join("/", o.Root, node.EtcdPKIDir), "healthcheck-client")
			opts.Endpoints = []string{endpoint}
			opts.CallTimeout = callTimeout
			return etcd.Dial(opts)
		}
	}
	if o.Port == nil {
		o.Port = port
	}
	return o
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

// Run decides, and acts, until etcd may start; it then writes
// the instance's BootstrapEnv. The error says why it never may.
func Run(ctx context.Context, opts Options) (Decision, error) {
	opts = opts.withDefaults()
	// What an earlier start decided must not outlive it.
	if err := os.Remove(opts.path(opts.Instance.BootstrapEnv())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Decision{}, fmt.Errorf("deciding how etcd starts: %w", err)
	}
	said, saidAt := "", time.Time{}
	var alone time.Time
	for {
		decision, err := look(ctx, opts)
		if err != nil {
			return Decision{}, fmt.Errorf("deciding how etcd starts: %w", err)
		}
		decision.Decision, alone = settle(opts, decision.Decision, alone)
		reason := decision.Reason
		if decision.acted != nil {
			reason += ": " + decision.acted.Error()
		}
		switch decision.Step {
		case Refuse:
			return Decision{}, fmt.Errorf("deciding how etcd starts: %s", decision.Reason)
		case Start:
			if err := allow(opts, decision.Decision); err != nil {
				return Decision{}, fmt.Errorf("letting etcd start: %w", err)
			}
			opts.Log.Info("etcd guard", "step", string(Start), "state", decision.State, "reason", reason)
			return decision.Decision, nil
		case Remove, Add, Restore:
			opts.Log.Info("etcd guard", "step", string(decision.Step), "reason", reason)
			if decision.acted == nil {
				continue // Look at what it has become.
			}
		default:
			if now := opts.Now(); reason != said || now.Sub(saidAt) >= DefaultRepeat {
				opts.Log.Info("etcd guard", "step", string(Wait), "reason", reason)
				said, saidAt = reason, now
			}
		}
		select {
		case <-ctx.Done():
			return Decision{}, fmt.Errorf("waiting until etcd may start: %w: %s", context.Cause(ctx), reason)
		case <-time.After(opts.Pause):
		}
	}
}

// settle keeps a member from beginning a cluster until it could have for a
// while. It returns since when it can.
func settle(opts Options, d Decision, since time.Time) (Decision, time.Time) {
	if d.Step != Start || d.State != StateNew || len(opts.Config.Etcd.Members) == 1 {
		return d, time.Time{}
	}
	now := opts.Now()
	if since.IsZero() {
		since = now
	}
	if now.Sub(since) < opts.Settle {
		d = Decision{Step: Wait, Reason: fmt.Sprintf("this member begins the cluster if nobody else appears for %s", opts.Settle)}
	}
	return d, since
}

// A looked is a decision and what became of it.
type looked struct {
	Decision
	acted error
}

// look gathers facts, decides, and changes the members where that is decided.
func look(ctx context.Context, opts Options) (looked, error) {
	facts, err := local(opts)
	if err != nil {
		return looked{}, err
	}
	if _, bad := refuse(opts.Config, facts); bad || facts.Log {
		return looked{Decision: Decide(opts.Config, facts)}, nil
	}
	peer := ask(ctx, opts, &facts)
	if peer != nil {
		defer peer.Close()
	}
	// Whoever ran out of time has not heard that nobody is there.
	if ctx.Err() != nil {
		return looked{Decision: Decision{Step: Wait, Reason: "the others were not asked to the end"}}, nil
	}
	d := looked{Decision: Decide(opts.Config, facts)}
	switch d.Step {
	case Remove:
		d.acted = peer.Remove(ctx, d.ID)
		if errors.Is(d.acted, etcd.ErrGone) {
			d.acted = nil
		}
	case Add:
		d.acted = peer.AddLearner(ctx, opts.Config.Etcd.PeerURL)
		if errors.Is(d.acted, etcd.ErrExists) {
			d.acted = nil
		}
	case Restore:
		d.acted = restore(ctx, opts)
	}
	return d, nil
}

// local reads what the machine knows by itself.
func local(opts Options) (Facts, error) {
	facts := Facts{Now: opts.Now()}
	var err error
	if facts.Mounted, err = opts.Mounted(opts.path(node.EtcdMount)); err != nil {
		return Facts{}, err
	}
	if facts.Log, err = hasLog(opts.path(opts.Instance.DataDir())); err != nil {
		return Facts{}, err
	}
	owner := filepath.Join(opts.path(node.EtcdMount), ownerFile)
	content, err := os.ReadFile(owner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return facts, nil
	case err != nil:
		return Facts{}, err
	}
	facts.Owner = &Owner{}
	if err := json.Unmarshal(content, facts.Owner); err != nil {
		return Facts{}, fmt.Errorf("reading %s: %w", owner, err)
	}
	return facts, nil
}

// ask adds what the other members say, and returns the one that spoke for a
// quorum, or nil.
func ask(ctx context.Context, opts Options, facts *Facts) Peer {
	cfg := opts.Config.Etcd
	var silence []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Members)) {
		if name == opts.Config.Name {
			continue
		}
		switch ports := [2]Port{opts.Port(ctx, cfg.Clients[name]), opts.Port(ctx, cfg.Members[name])}; {
		case ports == [2]Port{PortClosed, PortClosed}:
			facts.Idle = append(facts.Idle, name)
			silence = append(silence, name+" runs no etcd")
			continue
		case ports[0] != PortOpen && ports[1] != PortOpen:
			silence = append(silence, name+" is silent")
			continue
		}
		peer, err := opts.Connect(cfg.Clients[name])
		if err == nil {
			var members []etcd.Member
			if members, err = peer.Members(ctx); err == nil {
				facts.Members = members
				facts.Alive = alive(ctx, opts, peer, members)
				return peer
			}
			peer.Close()
		}
		facts.Listening = append(facts.Listening, name)
		silence = append(silence, name+": "+err.Error())
	}
	facts.Silence = strings.Join(silence, "; ")
	return nil
}

// alive asks every member itself: the list alone says who should be there.
func alive(ctx context.Context, opts Options, through Peer, members []etcd.Member) []uint64 {
	var ids []uint64
	for _, m := range members {
		for _, endpoint := range m.ClientURLs {
			if opts.Port(ctx, endpoint) != PortOpen {
				continue
			}
			if id, err := through.Status(ctx, endpoint); err == nil && id == m.ID {
				ids = append(ids, m.ID)
				break
			}
		}
	}
	return ids
}

// allow writes whose the data is, and then what etcd is told.
func allow(opts Options, d Decision) error {
	owner, err := json.Marshal(ownerOf(opts.Config))
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(opts.path(node.EtcdMount), ownerFile), append(owner, '\n'), 0o644); err != nil {
		return err
	}
	return atomicfile.Write(opts.path(opts.Instance.BootstrapEnv()), d.Env(), 0o640)
}

// Env is the decision in the form of systemd's EnvironmentFile.
func (d Decision) Env() []byte {
	var members []string
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		members = append(members, name+"="+d.Members[name])
	}
	return fmt.Appendf(nil, "ETCD_INITIAL_CLUSTER=%s\nETCD_INITIAL_CLUSTER_STATE=%s\n",
		strings.Join(members, ","), d.State)
}

// hasLog looks for segments of the log. A folder that cannot be read is an
// error: it may hold one.
func hasLog(data string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(data, "member/wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".wal") {
			return true, nil
		}
	}
	return false, nil
}

// A Port is what an address says of itself.
type Port string

// The ports.
const (
	PortOpen Port = "open"
	// PortClosed is one whose machine says that nothing listens.
	PortClosed Port = "closed"
	// PortSilent is one that nothing is heard of.
	PortSilent Port = "silent"
)

func port(ctx context.Context, address string) Port {
	u, err := url.Parse(address)
	if err != nil {
		return PortSilent
	}
	dialer := net.Dialer{Timeout: portTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	switch {
	case err == nil:
		conn.Close()
		return PortOpen
	case errors.Is(err, syscall.ECONNREFUSED):
		return PortClosed
	}
	return PortSilent
}

func mounted(path string) (bool, error) {
	info, err := os.ReadFile(mountInfo)
	if err != nil {
		return false, err
	}
	return MountedIn(string(info), path), nil
}

// MountedIn reports whether a mountinfo file lists path as a mount point.
func MountedIn(info, path string) bool {
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}
