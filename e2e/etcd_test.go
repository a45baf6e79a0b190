package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/etcdbackup"
	"github.com/k8snode/k8snode/agent/etcdguard"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/pki"
)

// etcdWait is how long anything may take here; most of it takes a second.
const etcdWait = 2 * time.Minute

// etcdMember is a member on this machine: a folder that stands for a disk, and
// a process.
type etcdMember struct {
	t       *testing.T
	program string
	root    string
	cfg     node.Config
	log     *os.File
	process *exec.Cmd
}

// TestEtcd has three members of the image's etcd on the loopback, each started
// by the guard: they become a cluster, lose their data in turn, and stay one.
func TestEtcd(t *testing.T) {
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	dir := t.TempDir()
	run(t, "unsquashfs", "-quiet", "-no-progress", "-dest", filepath.Join(dir, "root"), filepath.Join(*image, "pxe", "rootfs.squashfs"), "usr/bin/etcd", "usr/bin/etcdutl")
	members := newEtcdMembers(t, filepath.Join(dir, "root/usr/bin/etcd"), dir)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()

	// Two that may not begin a cluster wait for the one that may.
	second := make(chan error, 1)
	go func() { second <- members[1].start(ctx) }()
	select {
	case err := <-second:
		t.Fatalf("a member that may not begin a cluster began: %v", err)
	case <-time.After(2 * time.Second):
	}
	must(t, members[0].start(ctx))
	must(t, <-second)
	must(t, members[1].promote(ctx))
	must(t, members[2].start(ctx))
	must(t, members[2].promote(ctx))
	id := members[0].clusterID(ctx)
	members[1].ask(ctx, func(c *etcd.Client) error {
		for i := range 100 {
			key := fmt.Sprintf("/k8snode/test/%d", i)
			if _, err := c.Create(ctx, key, key); err != nil {
				return err
			}
		}
		return nil
	})

	// Each in turn, the first one included, loses its data; the first may still
	// begin a cluster, and does not.
	for i, m := range members {
		m.kill()
		must(t, os.RemoveAll(filepath.Join(m.root, node.Main.DataDir())))
		must(t, m.start(ctx))
		must(t, m.promote(ctx))
		members.check(ctx, id, fmt.Sprintf("member %d wiped", i))
	}

	// A snapshot is one that etcd's own tool takes.
	snapshot, err := etcdbackup.Run(ctx, etcdbackup.Options{
		Config: members[1].cfg, Dir: filepath.Join(dir, "backup"), Now: time.Now,
		Connect: func(etcdbackup.Options) (etcdbackup.Source, error) { return members[1].client(), nil },
	})
	must(t, err)
	run(t, filepath.Join(dir, "root/usr/bin/etcdutl"), "snapshot", "status", snapshot)
	run(t, filepath.Join(dir, "root/usr/bin/etcdutl"), "snapshot", "restore", snapshot, "--data-dir", filepath.Join(dir, "restored"))

	// One whose data is kept comes back as it was.
	members[1].kill()
	must(t, members[1].start(ctx))
	members.check(ctx, id, "member 1 restarted")

	// Of two that are wiped at once, neither removes anything: there is no
	// quorum that could agree.
	for _, m := range members[:2] {
		m.kill()
		must(t, os.Rename(filepath.Join(m.root, node.Main.DataDir()), filepath.Join(m.root, "kept")))
	}
	for _, m := range members[:2] {
		short, stop := context.WithTimeout(ctx, 8*time.Second)
		err := m.start(short)
		stop()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want it to wait", m.cfg.Name, err)
		}
	}
	for _, m := range members[:2] {
		must(t, os.RemoveAll(filepath.Join(m.root, node.Main.DataDir())))
		must(t, os.Rename(filepath.Join(m.root, "kept"), filepath.Join(m.root, node.Main.DataDir())))
		must(t, m.start(ctx))
	}
	members.check(ctx, id, "after two were down")

	// The disk of one in the place of another's.
	members[0].kill()
	members[1].kill()
	swapped := members[0].cfg
	swapped.Name, swapped.Etcd = members[1].cfg.Name, members[1].cfg.Etcd
	_, err = etcdguard.Run(ctx, members[0].guard(swapped))
	if err == nil || !strings.Contains(err.Error(), "the data folder belongs to member cp1") {
		t.Errorf("a swapped disk: %v", err)
	}

	// All is lost but the snapshot: one begins with it, the others join, and one
	// with data from before is refused.
	for _, m := range members {
		m.kill()
		m.cfg.Generation = 2
		write(t, filepath.Join(m.root, "var/snapshot.db"), read(t, snapshot))
	}
	members[0].cfg.Etcd.Restore = "/var/snapshot.db"
	for _, m := range members[:2] {
		must(t, os.RemoveAll(filepath.Join(m.root, node.EtcdMount)))
		must(t, m.start(ctx))
		must(t, m.promote(ctx))
	}
	if err := members[2].start(ctx); err == nil || !strings.Contains(err.Error(), "of generation 0 of the cluster") {
		t.Errorf("a member with data from before the restore: %v", err)
	}
	must(t, os.RemoveAll(filepath.Join(members[2].root, node.EtcdMount)))
	must(t, members[2].start(ctx))
	must(t, members[2].promote(ctx))
	restored := members[0].clusterID(ctx)
	if restored == id {
		t.Errorf("the restored cluster has the ID %x of the one before", id)
	}
	members.check(ctx, restored, "restored")
}

type etcdMembers []*etcdMember

func newEtcdMembers(t *testing.T, program, dir string) etcdMembers {
	t.Helper()
	opts := pki.Options{Now: time.Now(), Rand: rand.Reader}
	bundle, err := pki.New(opts)
	must(t, err)
	const count = 3
	peers, clients := map[string]string{}, map[string]string{}
	for i := range count {
		name := fmt.Sprintf("cp%d", i+1)
		peers[name], clients[name] = "https://"+freePort(t), "https://"+freePort(t)
	}
	until := opts.Now.Add(time.Hour)
	var members etcdMembers
	for i := range count {
		name := fmt.Sprintf("cp%d", i+1)
		m := &etcdMember{t: t, program: program, root: filepath.Join(dir, name)}
		m.cfg = node.Config{
			Cluster: "test", ClusterID: bundle.ClusterID, Name: name, Role: node.ControlPlane,
			Etcd: &node.Etcd{PeerURL: peers[name], Members: peers, Clients: clients},
		}
		if i == 0 {
			m.cfg.Etcd.GenesisUntil = &until
		}
		host := pki.Host{Name: name, Address: netip.MustParseAddr("127.0.0.1")}
		server, err := bundle.EtcdServer(host, opts)
		must(t, err)
		peer, err := bundle.EtcdPeer(host, opts)
		must(t, err)
		client, err := bundle.EtcdHealthcheckClient(opts)
		must(t, err)
		folder := filepath.Join(m.root, node.EtcdPKIDir)
		write(t, filepath.Join(folder, "ca.crt"), bundle.Etcd.Certificate)
		for name, pair := range map[string]pki.KeyPair{"server": server, "peer": peer, "healthcheck-client": client} {
			write(t, filepath.Join(folder, name+".crt"), pair.Certificate)
			write(t, filepath.Join(folder, name+".key"), pair.Key)
		}
		m.log, err = os.Create(filepath.Join(dir, name+".log"))
		must(t, err)
		t.Cleanup(func() {
			m.kill()
			m.log.Close()
			if t.Failed() {
				text := read(t, m.log.Name())
				t.Logf("the guard of %s says:\n%s", name, tail(regexp.MustCompile(`(?m)^\{.*\n`).ReplaceAllString(text, "")))
				t.Logf("%s says:\n%s", name, tail(text))
			}
		})
		members = append(members, m)
	}
	return members
}

// freePort is an address of the loopback that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (m *etcdMember) guard(cfg node.Config) etcdguard.Options {
	return etcdguard.Options{
		Config: cfg, Root: m.root, Runner: command.Runner{Dir: filepath.Dir(m.program)}, Now: time.Now, Pause: 200 * time.Millisecond, Settle: 2 * time.Second,
		Mounted: func(string) (bool, error) { return true, nil },
		Log:     slog.New(slog.NewTextHandler(m.log, nil)),
	}
}

// start asks the guard, and starts etcd as its unit would.
func (m *etcdMember) start(ctx context.Context) error {
	data := filepath.Join(m.root, node.Main.DataDir())
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return err
	}
	decision, err := etcdguard.Run(ctx, m.guard(m.cfg))
	if err != nil {
		return err
	}
	pkiDir := filepath.Join(m.root, node.EtcdPKIDir)
	m.process = exec.Command(m.program)
	m.process.Stdout, m.process.Stderr = m.log, m.log
	m.process.Env = append(strings.Split(strings.TrimSpace(string(decision.Env())), "\n"),
		"ETCD_NAME="+m.cfg.Name, "ETCD_DATA_DIR="+data,
		"ETCD_LISTEN_PEER_URLS="+m.cfg.Etcd.PeerURL, "ETCD_INITIAL_ADVERTISE_PEER_URLS="+m.cfg.Etcd.PeerURL,
		"ETCD_LISTEN_CLIENT_URLS="+m.cfg.Etcd.Clients[m.cfg.Name], "ETCD_ADVERTISE_CLIENT_URLS="+m.cfg.Etcd.Clients[m.cfg.Name],
		"ETCD_INITIAL_CLUSTER_TOKEN="+node.Main.Token(m.cfg.ClusterID, m.cfg.Generation),
		"ETCD_CLIENT_CERT_AUTH=true", "ETCD_TRUSTED_CA_FILE="+pkiDir+"/ca.crt", "ETCD_CERT_FILE="+pkiDir+"/server.crt", "ETCD_KEY_FILE="+pkiDir+"/server.key",
		"ETCD_PEER_CLIENT_CERT_AUTH=true", "ETCD_PEER_TRUSTED_CA_FILE="+pkiDir+"/ca.crt", "ETCD_PEER_CERT_FILE="+pkiDir+"/peer.crt", "ETCD_PEER_KEY_FILE="+pkiDir+"/peer.key",
		"ETCD_HEARTBEAT_INTERVAL=250", "ETCD_ELECTION_TIMEOUT=2000", "ETCD_UNSAFE_NO_FSYNC=true",
	)
	return m.process.Start()
}

func (m *etcdMember) promote(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, etcdWait)
	defer cancel()
	return etcdguard.Promote(ctx, m.guard(m.cfg))
}

// kill is the power cut.
func (m *etcdMember) kill() {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
	m.process = nil
}

func (m *etcdMember) client() *etcd.Client {
	m.t.Helper()
	opts := etcd.NodeFiles(filepath.Join(m.root, node.EtcdPKIDir), "healthcheck-client")
	opts.Endpoints = []string{m.cfg.Etcd.Clients[m.cfg.Name]}
	c, err := etcd.Dial(opts)
	must(m.t, err)
	return c
}

// ask tries until the member answers.
func (m *etcdMember) ask(ctx context.Context, question func(*etcd.Client) error) {
	m.t.Helper()
	c := m.client()
	defer c.Close()
	deadline := time.Now().Add(etcdWait)
	for {
		err := question(c)
		if err == nil {
			return
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			m.t.Fatalf("%s: %v", m.cfg.Name, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (m *etcdMember) clusterID(ctx context.Context) (id uint64) {
	m.t.Helper()
	m.ask(ctx, func(c *etcd.Client) (err error) {
		id, err = c.ClusterID(ctx)
		return err
	})
	return id
}

// check says that there is one cluster, of three that vote, with all its keys.
func (all etcdMembers) check(ctx context.Context, id uint64, when string) {
	for _, m := range all {
		m.t.Helper()
		if got := m.clusterID(ctx); got != id {
			m.t.Fatalf("%s: %s is in cluster %x, not in %x", when, m.cfg.Name, got, id)
		}
		m.ask(ctx, func(c *etcd.Client) error {
			members, err := c.Members(ctx)
			if err != nil {
				return err
			}
			for _, other := range members {
				if other.Learner || other.Name == "" {
					return fmt.Errorf("%s: member %x %q does not vote", when, other.ID, other.Name)
				}
			}
			if len(members) != len(all) {
				return fmt.Errorf("%s: %d members", when, len(members))
			}
			return nil
		})
		m.ask(ctx, func(c *etcd.Client) error {
			for i := range 100 {
				key := fmt.Sprintf("/k8snode/test/%d", i)
				value, found, err := c.Get(ctx, key)
				if err != nil {
					return err
				}
				if !found || value != key {
					m.t.Fatalf("%s: %s has lost %s", when, m.cfg.Name, key)
				}
			}
			return nil
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(len(lines)-15, 0):], "\n")
}
