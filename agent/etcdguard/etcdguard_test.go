package etcdguard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/etcdguard"
	"github.com/k8snode/k8snode/agent/node"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const clusterID = "3f0c"

// config is that of cp1 in a cluster with these other members; genesis is the
// time that it has to begin one, 0 for none.
func config(genesis time.Duration, members ...string) node.Config {
	cfg := node.Config{Name: "cp1", ClusterID: clusterID, Role: node.ControlPlane, Etcd: &node.Etcd{
		PeerURL: "https://cp1:2380", Members: map[string]string{}, Clients: map[string]string{},
	}}
	if genesis != 0 {
		until := now.Add(genesis)
		cfg.Etcd.GenesisUntil = &until
	}
	for _, m := range append(members, "cp1") {
		cfg.Etcd.Members[m] = "https://" + m + ":2380"
		cfg.Etcd.Clients[m] = "https://" + m + ":2379"
	}
	return cfg
}

func member(id uint64, name string) etcd.Member {
	return etcd.Member{ID: id, Name: name, PeerURLs: []string{"https://" + name + ":2380"}, ClientURLs: []string{"https://" + name + ":2379"}}
}

func learner(id uint64, name string) etcd.Member {
	m := member(id, name)
	m.Learner = true
	return m
}

// added is a member that has not started yet.
func added(id uint64, name string) etcd.Member {
	m := learner(id, name)
	m.Name, m.ClientURLs = "", nil
	return m
}

func TestDecide(t *testing.T) {
	moment := config(time.Hour)
	moment.Etcd.GenesisUntil = &now
	foreign := config(time.Hour)
	foreign.Etcd.PeerURL = "https://10.0.0.9:2380"
	restoring, late := config(time.Hour, "cp2", "cp3"), config(-time.Hour, "cp2", "cp3")
	restoring.Etcd.Restore, late.Etcd.Restore = "/var/snapshot.db", "/var/snapshot.db"
	second := config(0, "cp2", "cp3")
	second.Generation = 2
	empty := etcdguard.Facts{Mounted: true, Now: now}
	with := func(edit func(*etcdguard.Facts)) etcdguard.Facts {
		f := empty
		edit(&f)
		return f
	}
	members := func(alive []uint64, all ...etcd.Member) etcdguard.Facts {
		return with(func(f *etcdguard.Facts) { f.Members, f.Alive = all, alive })
	}
	const three = "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2380,cp2=https://cp2:2380,cp3=https://cp3:2380\nETCD_INITIAL_CLUSTER_STATE=existing\n"
	for _, tt := range []struct {
		name   string
		cfg    node.Config
		facts  etcdguard.Facts
		step   etcdguard.Step
		env    string
		id     uint64
		reason string
	}{
		// What is never right.
		{
			name: "not mounted", cfg: config(time.Hour), facts: etcdguard.Facts{Now: now}, step: etcdguard.Refuse,
			reason: "the data folder is not a mount point: its partition did not mount, and an empty folder in its place would make this member forget its data",
		},
		{name: "not mounted, with a log", cfg: config(0), facts: etcdguard.Facts{Log: true, Now: now}, step: etcdguard.Refuse, reason: "the data folder is not a mount point"},
		{name: "another peer URL", cfg: foreign, facts: empty, step: etcdguard.Refuse, reason: `the members do not list "cp1" with the peer URL "https://10.0.0.9:2380"`},
		{name: "worker", cfg: node.Config{Name: "w1", Role: node.Worker}, facts: empty, step: etcdguard.Refuse, reason: `node "w1" has no etcd member (role worker)`},
		{
			name: "the data of another cluster", cfg: config(time.Hour), facts: with(func(f *etcdguard.Facts) {
				f.Log, f.Owner = true, &etcdguard.Owner{ClusterID: "9999", Name: "cp1"}
			}), step: etcdguard.Refuse, reason: "the data folder belongs to member cp1 of cluster 9999, and this is member cp1 of cluster 3f0c",
		},
		{
			name: "the data of another member", cfg: config(0, "cp2"), facts: with(func(f *etcdguard.Facts) {
				f.Log, f.Owner = true, &etcdguard.Owner{ClusterID: clusterID, Name: "cp2"}
			}), step: etcdguard.Refuse, reason: "the data folder belongs to member cp2",
		},

		{
			name: "data from before a restore", cfg: second, facts: with(func(f *etcdguard.Facts) {
				f.Log, f.Owner = true, &etcdguard.Owner{ClusterID: clusterID, Generation: 1, Name: "cp1"}
			}), step: etcdguard.Refuse, reason: "the data folder is of generation 1 of the cluster, and this node's configuration of 2: " +
				"etcd was restored in between; install this node again, without --keep-etcd",
		},

		// With a snapshot, and without data: whoever is silent may be lost.
		{name: "restore", cfg: restoring, facts: empty, step: etcdguard.Restore, reason: "this member restores the cluster from /var/snapshot.db"},
		{
			name: "restore, and an etcd runs", cfg: restoring, facts: with(func(f *etcdguard.Facts) { f.Listening = []string{"cp3"} }),
			step: etcdguard.Wait, reason: "this member may begin the cluster, but etcd runs on [cp3]",
		},
		{name: "restore, and there is a quorum", cfg: restoring, facts: members([]uint64{2, 3}, member(2, "cp2"), member(3, "cp3")), step: etcdguard.Add},
		{name: "restore, too late", cfg: late, facts: empty, step: etcdguard.Wait, reason: "this member has no data, and the time to begin the cluster ended"},
		{name: "restored", cfg: restoring, facts: with(func(f *etcdguard.Facts) { f.Log = true }), step: etcdguard.Start, env: three},

		// With data.
		{name: "log", cfg: config(0, "cp2", "cp3"), facts: with(func(f *etcdguard.Facts) { f.Log = true }), step: etcdguard.Start, env: three},
		{
			name: "log of its own, in the genesis window", cfg: config(time.Hour, "cp2", "cp3"), facts: with(func(f *etcdguard.Facts) {
				f.Log, f.Owner = true, &etcdguard.Owner{ClusterID: clusterID, Name: "cp1"}
			}), step: etcdguard.Start, env: three,
		},

		// Without data, while others answer.
		{name: "new member", cfg: config(0, "cp2"), facts: members([]uint64{2}, member(2, "cp2")), step: etcdguard.Add},
		{name: "genesis node of a cluster that is there", cfg: config(time.Hour, "cp2"), facts: members([]uint64{2}, member(2, "cp2")), step: etcdguard.Add},
		{
			name: "added, not started", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2, 3}, member(2, "cp2"), member(3, "cp3"), added(1, "cp1")),
			step: etcdguard.Start, env: three,
		},
		{
			name: "another one is added as well", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2}, member(2, "cp2"), added(3, "cp3"), added(1, "cp1")),
			step: etcdguard.Start, env: "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2380,cp2=https://cp2:2380,unstarted-3=https://cp3:2380\nETCD_INITIAL_CLUSTER_STATE=existing\n",
		},
		{
			name: "lost as a voter", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2, 3}, member(1, "cp1"), member(2, "cp2"), member(3, "cp3")),
			step: etcdguard.Remove, id: 1,
		},
		{
			name: "lost as a learner", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2, 3}, learner(1, "cp1"), member(2, "cp2"), member(3, "cp3")),
			step: etcdguard.Remove, id: 1,
		},
		{
			name: "lost, with another address", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2, 3},
				etcd.Member{ID: 1, Name: "cp1", PeerURLs: []string{"https://old:2380"}}, member(2, "cp2"), member(3, "cp3")),
			step: etcdguard.Remove, id: 1,
		},
		{
			name: "lost, and another one is down", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{2}, member(1, "cp1"), member(2, "cp2"), member(3, "cp3")),
			step: etcdguard.Wait, reason: "removing the old entry of this member needs 2 of the other 2 members, and 1 answer",
		},
		{
			name: "lost, of five, and another one is down", cfg: config(0, "cp2", "cp3", "cp4", "cp5"),
			facts: members([]uint64{2, 3, 4}, member(1, "cp1"), member(2, "cp2"), member(3, "cp3"), member(4, "cp4"), member(5, "cp5")),
			step:  etcdguard.Remove, id: 1,
		},
		{
			name: "lost, of five, and two others are down", cfg: config(0, "cp2", "cp3", "cp4", "cp5"),
			facts: members([]uint64{2, 3}, member(1, "cp1"), member(2, "cp2"), member(3, "cp3"), member(4, "cp4"), member(5, "cp5")),
			step:  etcdguard.Wait, reason: "needs 3 of the other 4 members, and 2 answer",
		},
		{
			name: "somebody else is this member", cfg: config(0, "cp2", "cp3"), facts: members([]uint64{1, 2, 3}, member(1, "cp1"), member(2, "cp2"), member(3, "cp3")),
			step: etcdguard.Wait, reason: "member cp1 (1) is alive somewhere, and this machine is not it: two machines have one identity",
		},

		// Without data, and nobody answers.
		{name: "genesis", cfg: config(time.Hour), facts: empty, step: etcdguard.Start, env: "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2380\nETCD_INITIAL_CLUSTER_STATE=new\n"},
		{
			name: "genesis, another one waits", cfg: config(time.Hour, "cp2", "cp3"), facts: with(func(f *etcdguard.Facts) { f.Idle = []string{"cp3"} }),
			step: etcdguard.Start, env: "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2380\nETCD_INITIAL_CLUSTER_STATE=new\n",
		},
		{
			name: "genesis, cut off", cfg: config(time.Hour, "cp2", "cp3"), facts: with(func(f *etcdguard.Facts) { f.Silence = "cp2 is silent; cp3 is silent" }),
			step: etcdguard.Wait, reason: "this member may begin the cluster once 2 of its 3 machines are known to run no etcd, and 1 are: " +
				"one that is silent may be cut off, with a cluster that is there (cp2 is silent; cp3 is silent)",
		},
		{
			name: "genesis, of five, cut off with one", cfg: config(time.Hour, "cp2", "cp3", "cp4", "cp5"), facts: with(func(f *etcdguard.Facts) { f.Idle = []string{"cp3"} }),
			step: etcdguard.Wait, reason: "once 3 of its 5 machines are known to run no etcd, and 2 are",
		},
		{
			name: "genesis, and an etcd without a quorum", cfg: config(time.Hour, "cp2", "cp3"), facts: with(func(f *etcdguard.Facts) {
				f.Listening, f.Silence = []string{"cp2"}, "cp2: no leader; cp3 does not listen"
			}), step: etcdguard.Wait,
			reason: "this member may begin the cluster, but etcd runs on [cp2]: there is one already, or another one begins (cp2: no leader; cp3 does not listen)",
		},
		{
			name: "genesis is over", cfg: config(-time.Hour, "cp2"), facts: empty, step: etcdguard.Wait,
			reason: "this member has no data, and the time to begin the cluster ended at 2026-05-01T11:00:00Z (it is 2026-05-01T12:00:00Z): " +
				"if there is no cluster yet, install this node again with --new-cluster; otherwise restore a snapshot",
		},
		{name: "genesis ends now", cfg: moment, facts: empty, step: etcdguard.Wait, reason: "ended at 2026-05-01T12:00:00Z"},
		{name: "never genesis", cfg: config(0, "cp2"), facts: empty, step: etcdguard.Wait, reason: "this member has no data, and no other member answers with a quorum"},
		{
			name: "never genesis, alone", cfg: config(0), facts: empty, step: etcdguard.Wait,
			reason: "this member has no data, is the only one, and may not begin a cluster: restore a snapshot, or install it again with --new-cluster",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := etcdguard.Decide(tt.cfg, tt.facts)
			if d.Step != tt.step || d.ID != tt.id || !strings.Contains(d.Reason, tt.reason) {
				t.Errorf("got %s %x: %s\nwant %s %x: %s", d.Step, d.ID, d.Reason, tt.step, tt.id, tt.reason)
			}
			if d.Step == etcdguard.Start && string(d.Env()) != tt.env {
				t.Errorf("got %q\nwant %q", d.Env(), tt.env)
			}
			if d.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// A cluster is etcd as the guard sees it: members, those that answer, and those
// whose port is open.
type cluster struct {
	members []etcd.Member
	up      []string // names of members that answer with a quorum
	open    []string
	silent  []string // names of members whose machine does not answer
	nextID  uint64
	calls   []string
}

// A voice is one member of it.
type voice struct {
	c    *cluster
	name string
}

var errSilent = errors.New("context deadline exceeded")

func (v voice) Close() {}

func (v voice) Members(context.Context) ([]etcd.Member, error) {
	if !slices.Contains(v.c.up, v.name) {
		return nil, errSilent
	}
	return slices.Clone(v.c.members), nil
}

func (v voice) Status(_ context.Context, endpoint string) (uint64, error) {
	for _, m := range v.c.members {
		if slices.Contains(m.ClientURLs, endpoint) && slices.Contains(v.c.up, m.Name) {
			return m.ID, nil
		}
	}
	return 0, errSilent
}

func (v voice) Remove(_ context.Context, id uint64) error {
	v.c.calls = append(v.c.calls, fmt.Sprintf("remove %d", id))
	v.c.members = slices.DeleteFunc(v.c.members, func(m etcd.Member) bool { return m.ID == id })
	return nil
}

func (v voice) AddLearner(_ context.Context, peerURL string) error {
	v.c.calls = append(v.c.calls, "add "+peerURL)
	v.c.nextID++
	v.c.members = append(v.c.members, etcd.Member{ID: 100 + v.c.nextID, PeerURLs: []string{peerURL}, Learner: true})
	return nil
}

func (v voice) Promote(_ context.Context, id uint64) error {
	v.c.calls = append(v.c.calls, fmt.Sprintf("promote %d", id))
	for i, m := range v.c.members {
		if m.ID == id {
			v.c.members[i].Learner = false
			return nil
		}
	}
	return etcd.ErrGone
}

func options(t *testing.T, cfg node.Config, c *cluster) etcdguard.Options {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, node.Main.DataDir()), 0o700); err != nil {
		t.Fatal(err)
	}
	return etcdguard.Options{
		Config: cfg, Root: root, Now: func() time.Time { return now }, Pause: time.Millisecond,
		Mounted: func(string) (bool, error) { return true, nil },
		Connect: func(endpoint string) (etcdguard.Peer, error) {
			return voice{c, strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), ":2379")}, nil
		},
		Settle: -1,
		Port: func(ctx context.Context, address string) etcdguard.Port {
			name, _, _ := strings.Cut(strings.TrimPrefix(address, "https://"), ":")
			switch {
			case ctx.Err() != nil || slices.Contains(c.silent, name):
				return etcdguard.PortSilent
			case slices.Contains(c.open, name) || slices.Contains(c.up, name):
				return etcdguard.PortOpen
			}
			return etcdguard.PortClosed
		},
	}
}

func env(t *testing.T, opts etcdguard.Options) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(opts.Root, node.Main.BootstrapEnv()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A wiped member leaves, comes back as a learner, and is promoted.
func TestRejoin(t *testing.T) {
	c := &cluster{members: []etcd.Member{member(1, "cp1"), member(2, "cp2"), member(3, "cp3")}, up: []string{"cp2", "cp3"}, open: []string{"cp2", "cp3"}}
	opts := options(t, config(time.Hour, "cp2", "cp3"), c)
	if _, err := etcdguard.Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	const want = "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2380,cp2=https://cp2:2380,cp3=https://cp3:2380\nETCD_INITIAL_CLUSTER_STATE=existing\n"
	if got := env(t, opts); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	// Started once more before etcd has written anything: nothing changes.
	if _, err := etcdguard.Run(t.Context(), opts); err != nil || env(t, opts) != want {
		t.Errorf("the second start: %v, %q", err, env(t, opts))
	}
	if err := etcdguard.Promote(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if err := etcdguard.Promote(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.calls, ", "), "remove 1, add https://cp1:2380, promote 101"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// While nobody has a quorum, an empty member waits, and changes nothing.
func TestWait(t *testing.T) {
	for name, c := range map[string]*cluster{
		"nobody is there": {},
		"two are wiped":   {members: []etcd.Member{member(1, "cp1"), member(2, "cp2"), member(3, "cp3")}, open: []string{"cp3"}},
	} {
		opts := options(t, config(0, "cp2", "cp3"), c)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := etcdguard.Run(ctx, opts)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || len(c.calls) > 0 {
			t.Errorf("%s: %v, calls %v", name, err, c.calls)
		}
		if _, err := os.Stat(filepath.Join(opts.Root, node.Main.BootstrapEnv())); !os.IsNotExist(err) {
			t.Errorf("%s: etcd may start: %v", name, err)
		}
	}
}

// The one that may begin a cluster does so when the others were seen for a while
// to run none, and not when one of them turns out to be starting.
func TestSettle(t *testing.T) {
	const settle = 10 * time.Second
	for _, tt := range []struct {
		name   string
		change func(look int, c *cluster)
		state  string
		looks  int
	}{
		{"nobody appears", func(int, *cluster) {}, etcdguard.StateNew, 11},
		{"one is cut off for a moment", func(look int, c *cluster) {
			c.silent = nil
			if look == 5 {
				c.silent = []string{"cp2", "cp3"}
			}
		}, etcdguard.StateNew, 16},
		{"one was just starting", func(look int, c *cluster) {
			if look == 8 {
				c.members, c.up = []etcd.Member{member(2, "cp2")}, []string{"cp2"}
			}
		}, etcdguard.StateExisting, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &cluster{}
			opts := options(t, config(time.Hour, "cp2", "cp3"), c)
			opts.Settle = settle
			look := 0
			opts.Mounted = func(string) (bool, error) {
				look++
				tt.change(look, c)
				return true, nil
			}
			opts.Now = func() time.Time { return now.Add(time.Duration(look) * time.Second) }
			d, err := etcdguard.Run(t.Context(), opts)
			if err != nil || d.State != tt.state || look != tt.looks {
				t.Errorf("got %s after %d looks (%v), want %s after %d", d.State, look, err, tt.state, tt.looks)
			}
		})
	}
}

// Time that ran out while the others were asked is no proof that they are gone.
func TestOutOfTime(t *testing.T) {
	c := &cluster{open: []string{"cp3"}}
	opts := options(t, config(time.Hour, "cp2", "cp3"), c)
	ctx, cancel := context.WithCancel(t.Context())
	connect := opts.Connect
	opts.Connect = func(endpoint string) (etcdguard.Peer, error) {
		cancel()
		return connect(endpoint)
	}
	if _, err := etcdguard.Run(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := etcdguard.Run(cancelled, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(opts.Root, node.Main.BootstrapEnv())); !os.IsNotExist(err) {
		t.Errorf("etcd may start: %v", err)
	}
}

// TestRestore has a program in the place of etcdutl that fails until the snapshot
// is whole.
func TestRestore(t *testing.T) {
	cfg := config(time.Hour, "cp2", "cp3")
	cfg.Generation, cfg.Etcd.Restore = 2, "/var/snapshot.db"
	opts := options(t, cfg, &cluster{silent: []string{"cp2", "cp3"}})
	opts.Runner.Dir = t.TempDir()
	const etcdutl = `#!/bin/sh
grep -q whole "$3" || { echo "the digest does not match"; exit 1; }
mkdir -p "$5/member/wal" && touch "$5/member/wal/0.wal" && echo "$@" > "$5/args"
`
	if err := os.WriteFile(filepath.Join(opts.Runner.Dir, "etcdutl"), []byte(etcdutl), 0o755); err != nil {
		t.Fatal(err)
	}
	snapshot, data := filepath.Join(opts.Root, "/var/snapshot.db"), filepath.Join(opts.Root, node.Main.DataDir())
	var log bytes.Buffer
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	looks := 0
	opts.Mounted = func(string) (bool, error) {
		looks++
		for at, content := range map[int]string{3: "half", 6: "whole"} {
			if looks == at {
				return true, os.WriteFile(snapshot, []byte(content), 0o600)
			}
		}
		return true, nil
	}
	d, err := etcdguard.Run(t.Context(), opts)
	if err != nil || d.State != etcdguard.StateExisting {
		t.Fatalf("got %v, %v", d, err)
	}
	for _, want := range []string{"there is no /var/snapshot.db yet: mount what it is on, or copy it there", "the digest does not match"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	args, err := os.ReadFile(filepath.Join(data, "args"))
	want := "snapshot restore " + snapshot + " --data-dir " + data + ".restoring --name cp1 --initial-cluster cp1=https://cp1:2380 " +
		"--initial-advertise-peer-urls https://cp1:2380 --initial-cluster-token " + clusterID + "-2-main --bump-revision 1000000000 --mark-compacted\n"
	if err != nil || string(args) != want {
		t.Errorf("got  %s\nwant %s (%v)", args, want, err)
	}
	// The next start finds the data, and nothing is restored again.
	if err := os.Remove(snapshot); err != nil {
		t.Fatal(err)
	}
	if _, err := etcdguard.Run(t.Context(), opts); err != nil {
		t.Error(err)
	}
}

// A member of the etcd of events is guarded by itself.
func TestEvents(t *testing.T) {
	cfg := config(time.Hour)
	events := *cfg.Etcd
	events.PeerURL = "https://cp1:2382"
	events.Members = map[string]string{"cp1": events.PeerURL}
	cfg.Events = &events
	opts := options(t, cfg, &cluster{})
	opts.Instance = node.Events
	if _, err := etcdguard.Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(opts.Root, node.Events.BootstrapEnv()))
	if want := "ETCD_INITIAL_CLUSTER=cp1=https://cp1:2382\nETCD_INITIAL_CLUSTER_STATE=new\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := os.Stat(filepath.Join(opts.Root, node.Main.BootstrapEnv())); !os.IsNotExist(err) {
		t.Errorf("the other etcd may start: %v", err)
	}
}

// A member that waits goes on when the others are there.
func TestWaitsForTheOthers(t *testing.T) {
	c := &cluster{}
	opts := options(t, config(0, "cp2", "cp3"), c)
	looks := 0
	mounted := opts.Mounted
	opts.Mounted = func(path string) (bool, error) {
		if looks++; looks == 3 {
			c.members, c.up = []etcd.Member{member(2, "cp2")}, []string{"cp2"}
		}
		return mounted(path)
	}
	if _, err := etcdguard.Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(env(t, opts), "STATE=existing\n") || looks < 3 {
		t.Errorf("after %d looks: %s", looks, env(t, opts))
	}
}

func TestRun(t *testing.T) {
	opts := options(t, config(time.Hour), &cluster{})
	run := func(wantState, wantErr string) {
		t.Helper()
		_, err := etcdguard.Run(t.Context(), opts)
		path := filepath.Join(opts.Root, node.Main.BootstrapEnv())
		data, readErr := os.ReadFile(path)
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("got %v, want %s", err, wantErr)
			}
			if !os.IsNotExist(readErr) {
				t.Errorf("%s is left: %v", path, readErr)
			}
			return
		}
		if err != nil || readErr != nil || !strings.HasSuffix(string(data), "STATE="+wantState+"\n") {
			t.Errorf("got %q, %v, %v; want state %s", data, err, readErr, wantState)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode: %v, %v", info.Mode(), err)
		}
	}
	run("new", "")
	wal := filepath.Join(opts.Root, node.Main.DataDir(), "member/wal")
	if err := os.MkdirAll(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	run("new", "") // the folder alone is no log
	if err := os.WriteFile(filepath.Join(wal, "0000000000000000-0000000000000000.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run("existing", "")
	// The folder remembers whose it is.
	opts.Config.ClusterID = "9999"
	run("", "the data folder belongs to member cp1 of cluster 3f0c, and this is member cp1 of cluster 9999")
	opts.Config.ClusterID = clusterID
	owner := filepath.Join(opts.Root, node.EtcdMount, "k8snode-member.json")
	good, err := os.ReadFile(owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(owner, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("", "k8snode-member.json: unexpected end of JSON input")
	if err := os.WriteFile(owner, good, 0o600); err != nil {
		t.Fatal(err)
	}
	run("existing", "")
	opts.Mounted = func(string) (bool, error) { return false, nil }
	run("", "not a mount point")
	opts.Mounted = func(string) (bool, error) { return false, errors.New("no mounts") }
	run("", "deciding how etcd starts: no mounts")
	// A file where the folder of the log should be cannot be read as absent.
	opts.Mounted = func(string) (bool, error) { return true, nil }
	if err := os.RemoveAll(wal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run("", "not a directory")
}

func TestMountedIn(t *testing.T) {
	const info = `22 1 0:20 / / rw,relatime - ext4 /dev/root rw
90 22 8:5 / /var/lib/etcd rw,noatime shared:1 - xfs /dev/sda5 rw
91 22 8:6 / /var/lib/etcd2/data rw - xfs /dev/sda6 rw
`
	for path, want := range map[string]bool{
		"/var/lib/etcd": true, "/var/lib": false, "/var/lib/etcd2": false, "/dev/root": false, "/": true,
	} {
		if got := etcdguard.MountedIn(info, path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
