package e2e_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/store/etcdstore"
	"github.com/k8snode/k8snode/provision/store/storetest"
)

// storeEtcd is a cluster of the image's etcd on the loopback, for the stores of
// several servers.
type storeEtcd struct {
	t         *testing.T
	program   string
	dir       string
	urls      []string
	peers     []string
	processes []*exec.Cmd
}

func newStoreEtcd(t *testing.T) *storeEtcd {
	t.Helper()
	dir := t.TempDir()
	run(t, "unsquashfs", "-quiet", "-no-progress", "-dest", filepath.Join(dir, "root"), filepath.Join(*image, "pxe", "rootfs.squashfs"), "usr/bin/etcd")
	e := &storeEtcd{t: t, program: filepath.Join(dir, "root/usr/bin/etcd"), dir: dir, processes: make([]*exec.Cmd, 3)}
	for range e.processes {
		e.urls = append(e.urls, freePort(t))
		e.peers = append(e.peers, "http://"+freePort(t))
	}
	for i := range e.processes {
		e.start(i)
	}
	t.Cleanup(func() {
		for i := range e.processes {
			e.signal(i, syscall.SIGKILL)
		}
	})
	return e
}

func (e *storeEtcd) start(i int) {
	e.t.Helper()
	var cluster []string
	for j, peer := range e.peers {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", j, peer))
	}
	cmd := exec.Command(e.program, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(e.dir, fmt.Sprintf("m%d", i)),
		"--listen-client-urls", "http://"+e.urls[i], "--advertise-client-urls", "http://"+e.urls[i],
		"--listen-peer-urls", e.peers[i], "--initial-advertise-peer-urls", e.peers[i],
		"--initial-cluster", strings.Join(cluster, ","), "--heartbeat-interval", "100", "--election-timeout", "1000")
	log, err := os.OpenFile(filepath.Join(e.dir, fmt.Sprintf("m%d.log", i)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(e.t, err)
	cmd.Stdout, cmd.Stderr = log, log
	must(e.t, cmd.Start())
	must(e.t, log.Close())
	e.processes[i] = cmd
}

// signal stops, continues or kills a member.
func (e *storeEtcd) signal(i int, s syscall.Signal) {
	_ = e.processes[i].Process.Signal(s) // gone is as good
	if s == syscall.SIGKILL {
		_ = e.processes[i].Wait()
	}
}

// open is one server's store, by the members that it knows.
func (e *storeEtcd) open(t *testing.T, prefix string, members ...int) *etcdstore.Store {
	t.Helper()
	var hosts []string
	for _, i := range members {
		hosts = append(hosts, e.urls[i])
	}
	address, err := etcdstore.ParseURL("etcd://" + strings.Join(hosts, ",") + prefix)
	must(t, err)
	var s *etcdstore.Store
	eventually(t, func() error {
		s, err = etcdstore.Open(t.Context(), etcdstore.Options{Address: address, ClusterID: "cluster", CallTimeout: 3 * time.Second})
		return err
	})
	t.Cleanup(func() { s.Close() })
	return s
}

// eventually is for what an election must come before.
func eventually(t *testing.T, do func() error) {
	t.Helper()
	deadline := time.Now().Add(etcdWait)
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// TestEtcdStore has the servers' state in a real etcd of three members: the
// behaviour of every store, two servers at once, members that stop, a cluster that
// loses its power.
func TestEtcdStore(t *testing.T) {
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	e := newStoreEtcd(t)
	var stores int
	t.Run("behaviour", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			stores++
			return e.open(t, fmt.Sprintf("/store%d", stores), 0, 1, 2)
		})
	})
	t.Run("another cluster", func(t *testing.T) { e.anotherCluster(t) })
	t.Run("two servers", func(t *testing.T) { e.twoServers(t) })
	t.Run("one reader of two servers", func(t *testing.T) { e.oneReader(t) })
	t.Run("a server without a quorum", func(t *testing.T) { e.partition(t) })
	t.Run("power cut", func(t *testing.T) { e.powerCut(t) })
}

func (e *storeEtcd) anotherCluster(t *testing.T) {
	e.open(t, "/mine", 0, 1, 2)
	address, err := etcdstore.ParseURL("etcd://" + e.urls[0] + "/mine")
	must(t, err)
	_, err = etcdstore.Open(t.Context(), etcdstore.Options{Address: address, ClusterID: "other"})
	want := "opening the store in etcd, http://" + e.urls[0] + "/mine: it is that of the cluster cluster, and the secrets are those of other: name another prefix"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func (e *storeEtcd) twoServers(t *testing.T) {
	const each = 100
	servers := []store.Store{e.open(t, "/two", 0, 1, 2), e.open(t, "/two", 2, 1, 0)}
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			if err := s.Add(t.Context(), "a", "b"); err != nil {
				t.Errorf("Add: %v", err)
			}
		})
	}
	wg.Wait()
	for _, s := range servers {
		wg.Go(func() {
			for range each {
				if _, err := s.Update(t.Context(), "a", func(n *store.Node) error { n.Refused++; return nil }); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for i, s := range servers {
		if n, err := s.Node(t.Context(), "a"); err != nil || n.Refused != 2*each {
			t.Errorf("server %d reads %d changes, %v; want %d", i, n.Refused, err, 2*each)
		}
	}
}

// oneReader has a thief and the node ask two servers for one config at the same
// time.
func (e *storeEtcd) oneReader(t *testing.T) {
	ctx := t.Context()
	var gates []*store.Gate
	for range 2 {
		gate, err := store.NewGate(e.open(t, "/reader", 0, 1, 2), store.GateOptions{Now: time.Now, Rand: rand.Reader})
		must(t, err)
		gates = append(gates, gate)
	}
	must(t, e.open(t, "/reader", 0).Add(ctx, "a"))
	_, err := gates[0].Arm(ctx, "a", store.ArmOptions{Image: "image", Until: time.Now().Add(time.Hour)})
	must(t, err)
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	install, err := gates[1].Seed(ctx, "a", "52:54:00:00:00:01", addresses[0])
	must(t, err)
	_, token, err := gates[0].Plan(ctx, install, addresses[0])
	must(t, err)
	var mu sync.Mutex
	got := map[netip.Addr][][]byte{}
	var wg sync.WaitGroup
	for i := range 52 {
		wg.Go(func() {
			gate, from := gates[i%2], addresses[i/2%2]
			claim, err := gate.Claim(ctx, token, from)
			if errors.Is(err, store.ErrRefused) {
				return
			}
			if err != nil {
				t.Errorf("Claim: %v", err)
				return
			}
			config, ok, err := gate.Kept(ctx, claim, token)
			if err == nil && !ok {
				config, err = gate.Render(ctx, claim, token, func(report string) ([]byte, error) { return []byte(report), nil })
			}
			if err == nil {
				err = gate.Delivered(ctx, claim, config)
			}
			if err != nil {
				t.Errorf("a delivery: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got[from] = append(got[from], config.Body)
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("the config went to %d readers", len(got))
	}
	for _, bodies := range got {
		if len(bodies) != 26 {
			t.Errorf("its reader got it %d times of 26", len(bodies))
		}
		for _, body := range bodies {
			if !bytes.Equal(body, bodies[0]) {
				t.Error("two configs of one install")
			}
		}
	}
}

// partition stops members: a server that reaches only one that is alone says so,
// in a time that a machine waits, and never says what is old.
func (e *storeEtcd) partition(t *testing.T) {
	ctx := t.Context()
	whole, alone := e.open(t, "/partition", 0, 1), e.open(t, "/partition", 2)
	must(t, whole.Add(ctx, "a"))
	count := func(s store.Store) error {
		_, err := s.Update(ctx, "a", func(n *store.Node) error { n.Refused++; return nil })
		return err
	}
	must(t, count(alone))

	// The member of one server hangs; those of the other go on.
	e.signal(2, syscall.SIGSTOP)
	defer e.signal(2, syscall.SIGCONT)
	eventually(t, func() error { return count(whole) })
	started := time.Now()
	if n, err := alone.Node(ctx, "a"); err == nil {
		t.Errorf("a member that hangs answered: %+v", n)
	}
	if took := time.Since(started); took > 6*time.Second {
		t.Errorf("the answer that there is none took %s", took)
	}
	e.signal(2, syscall.SIGCONT)
	eventually(t, func() error {
		n, err := alone.Node(ctx, "a")
		if err == nil && n.Refused < 2 {
			t.Fatalf("a member that was away answers what is old: %d", n.Refused)
		}
		return err
	})

	// The two others hang: the one that is left has no quorum.
	e.signal(0, syscall.SIGSTOP)
	e.signal(1, syscall.SIGSTOP)
	defer e.signal(0, syscall.SIGCONT)
	defer e.signal(1, syscall.SIGCONT)
	started = time.Now()
	if err := count(alone); err == nil {
		t.Error("a change without a quorum")
	}
	if n, err := alone.Node(ctx, "a"); err == nil {
		t.Errorf("an answer without a quorum: %+v", n)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the answers that there are none took %s", took)
	}
	e.signal(0, syscall.SIGCONT)
	e.signal(1, syscall.SIGCONT)
	eventually(t, func() error { return count(alone) })
}

// powerCut kills all members while a server changes a node: what was answered is
// there afterwards.
func (e *storeEtcd) powerCut(t *testing.T) {
	ctx := t.Context()
	s := e.open(t, "/power", 0, 1, 2)
	must(t, s.Add(ctx, "a"))
	answered, stop := make(chan int), make(chan struct{})
	go func() {
		done := 0
		defer func() { answered <- done }()
		for {
			n, err := s.Update(ctx, "a", func(n *store.Node) error { n.Refused++; return nil })
			if err != nil {
				return
			}
			done = n.Refused
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	time.Sleep(2 * time.Second)
	for i := range e.processes {
		e.signal(i, syscall.SIGKILL)
	}
	close(stop)
	done := <-answered
	if done == 0 {
		t.Fatal("nothing was changed before the power cut")
	}
	for i := range e.processes {
		e.start(i)
	}
	eventually(t, func() error {
		n, err := s.Node(ctx, "a")
		// One change more may have been made: its answer was lost.
		if err == nil && (n.Refused < done || n.Refused > done+1) {
			t.Fatalf("%d changes after the power cut, %d were answered", n.Refused, done)
		}
		return err
	})
}
