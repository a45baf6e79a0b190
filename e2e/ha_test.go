package e2e_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/bootcheck"
	"github.com/k8snode/k8snode/internal/lab/ha"
	"github.com/k8snode/k8snode/internal/lab/umlkernel"
)

var (
	cacheDir = flag.String("cache", "", "cache `folder` (default $XDG_CACHE_HOME/k8snode)")
	seed     = flag.Uint64("seed", 0, "of the moments of power cuts (default: another one each time)")
)

const (
	// objects are written before something is lost.
	objects = 100
	// vipPatience is how long the API may be away when the machine with the
	// virtual address is lost.
	vipPatience = 30 * time.Second
	// cableOut is how long a machine boots without a network.
	cableOut = 90 * time.Second
)

// A fleet is a cluster of machines of a test.
type fleet struct {
	*ha.Cluster
	t   *testing.T
	ctx context.Context
	// id is that of the etcd cluster, once it is known.
	id uint64
}

// newFleet makes machines; their files stay if the test fails.
func newFleet(t *testing.T, change func([]byte) []byte) *fleet {
	t.Helper()
	return newFleetOf(t, ha.Options{Change: change})
}

func newFleetOf(t *testing.T, opts ha.Options) *fleet {
	t.Helper()
	if *image == "" {
		t.Skip("no -image: make test and make test-ha pass it")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cache := *cacheDir
	if cache == "" {
		user, err := os.UserCacheDir()
		must(t, err)
		cache = filepath.Join(user, "k8snode")
	}
	kernel, err := umlkernel.Fetch(ctx, umlkernel.Options{Cache: cache, Env: os.Environ(), Logger: logger})
	must(t, err)
	dir, err := os.MkdirTemp("", "k8snode-ha-")
	must(t, err)
	opts.Dir, opts.Image, opts.K8snode, opts.Kernel, opts.Now, opts.Logger = dir, *image, *k8snode, kernel, time.Now, logger
	c, err := ha.New(ctx, opts)
	must(t, err)
	t.Cleanup(func() {
		must(t, c.Close(context.WithoutCancel(ctx)))
		if !t.Failed() {
			must(t, os.RemoveAll(dir))
		}
	})
	return &fleet{Cluster: c, t: t, ctx: ctx}
}

// check ends the test with what the machines say.
func (f *fleet) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(f.Explain(f.ctx, err))
	}
}

// up starts all machines at once, and has them become a cluster.
func (f *fleet) up() {
	f.t.Helper()
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	f.whole()
	f.check(f.WriteObjects(f.ctx, objects))
	f.check(f.CheckObjects(f.ctx, objects))
}

// whole waits until the nodes are Ready, and sees that etcd is what it was.
func (f *fleet) whole(names ...string) {
	f.t.Helper()
	if len(names) == 0 {
		names = f.Nodes()
	}
	f.check(f.WaitReady(f.ctx, names...))
	id, err := f.CheckEtcd(f.ctx, f.id)
	f.check(err)
	f.id = id
}

// rejoin waits until a node that was lost is back, and sees that nothing else
// was.
func (f *fleet) rejoin(name string) {
	f.t.Helper()
	f.whole(name)
	f.check(f.CheckObjects(f.ctx, objects))
}

// TestCluster has three control planes and a worker become a cluster, and the
// control plane that began it come back with an empty disk.
func TestCluster(t *testing.T) {
	f := newFleet(t, nil)
	f.up()
	first := f.ControlPlanes()[0]
	f.check(f.Wipe(f.ctx, first))
	f.check(f.PowerOn(f.ctx, first))
	f.rejoin(first)

	// What must hold on a control plane, and its Docker with the quota.
	manifest, err := images.OpenManifest(*image)
	must(t, err)
	f.check(bootcheck.Verify(f.ctx, f.Machine(first).Guest(), append(bootcheck.NodeChecks(manifest, first), bootcheck.DockerChecks()...)))
}

// TestHighAvailability takes from a cluster, one after the other, everything of
// which it has several.
func TestHighAvailability(t *testing.T) {
	f := newFleet(t, nil)
	f.up()
	f.initialisedOnce()
	f.healthy()

	// The machine with the virtual address: it moves, and stays where it is when
	// the machine is back (nopreempt).
	lost, err := f.VIPHolder(f.ctx)
	f.check(err)
	f.check(f.PowerOff(f.ctx, lost))
	holder := f.vipMoves(lost)
	f.check(f.PowerOn(f.ctx, lost))
	f.rejoin(lost)
	f.vipIsAt(holder)

	// The haproxy of the machine with the address.
	_, err = f.Run(f.ctx, holder, "systemctl stop haproxy")
	f.check(err)
	f.vipMoves(holder)
	_, err = f.Run(f.ctx, holder, "systemctl start haproxy")
	f.check(err)

	// Each disk in turn. The config is that of the first installation: with it,
	// the first control plane may still begin a cluster, and does not.
	for i, name := range f.ControlPlanes() {
		if i == 2 {
			// Once as it is planned; the others, as it happens.
			f.removed(name)
		}
		f.check(f.Wipe(f.ctx, name))
		if i == 0 {
			f.lateBond(name)
		} else {
			f.check(f.PowerOn(f.ctx, name))
		}
		f.rejoin(name)
	}
	worker := f.Nodes()[len(f.Nodes())-1]
	f.check(f.Wipe(f.ctx, worker))
	f.check(f.PowerOn(f.ctx, worker))
	f.rejoin(worker)

	// A new system around the data of etcd.
	kept := f.ControlPlanes()[1]
	before, err := f.MemberID(f.ctx, kept)
	f.check(err)
	f.check(f.ReinstallKeepingEtcd(f.ctx, kept))
	f.check(f.PowerOn(f.ctx, kept))
	f.rejoin(kept)
	after, err := f.MemberID(f.ctx, kept)
	f.check(err)
	f.healthy()
	if before != after {
		t.Errorf("the member of %s was %x and is %x: its data was not kept", kept, before, after)
	}
}

// removed takes a node out of the cluster, as an operator does.
func (f *fleet) removed(name string) {
	f.t.Helper()
	plan, err := f.K8snode(f.ctx, "node", "remove", name, "--dry-run")
	f.check(err)
	f.t.Logf("to remove %s:\n%s", name, plan)
	done, err := f.K8snode(f.ctx, "node", "remove", name)
	f.check(err)
	for _, want := range []string{"done: move its pods to other nodes\n", "done: remove member ", "done: delete the Node object\n"} {
		if !strings.Contains(done, want) {
			f.t.Errorf("removing %s did %q, want %q among it", name, done, want)
		}
	}
	other := f.Others(name)
	e, err := f.Etcd(f.ctx, other[0])
	f.check(err)
	if slices.Contains(e.Voters, name) {
		f.t.Errorf("%s is removed, and the members are %q", name, e.Voters)
	}
}

// healthy has the doctor look at the cluster.
func (f *fleet) healthy() {
	f.t.Helper()
	said, err := f.K8snode(f.ctx, "doctor")
	f.t.Logf("the doctor:\n%s", said)
	f.check(err)
}

// initialisedOnce sees that of the control planes, which all wanted to, one ran
// kubeadm init.
func (f *fleet) initialisedOnce() {
	f.t.Helper()
	var by []string
	for _, name := range f.ControlPlanes() {
		out, err := f.Run(f.ctx, name, "journalctl -b -o cat -u k8snode-bootstrap | grep -c '\"step\":\"init\"' || true")
		f.check(err)
		if out != "0" {
			by = append(by, name)
		}
	}
	if len(by) != 1 {
		f.t.Errorf("kubeadm init was run by %q, want one", by)
	}
}

// vipMoves sees that the API answers soon, at another machine.
func (f *fleet) vipMoves(from string) (holder string) {
	f.t.Helper()
	holder, took, err := f.WaitVIP(f.ctx, from)
	f.check(err)
	if took > vipPatience {
		f.t.Errorf("the API was away for %s when %s was lost, want at most %s", took, from, vipPatience)
	}
	return holder
}

func (f *fleet) vipIsAt(want string) {
	f.t.Helper()
	at, err := f.VIPHolder(f.ctx)
	f.check(err)
	if at != want {
		f.t.Errorf("the virtual address is at %q, want %s", at, want)
	}
}

// lateBond starts a machine without a network, and gives it one later.
func (f *fleet) lateBond(name string) {
	f.t.Helper()
	m := f.Machine(name)
	f.check(m.Unplug(f.ctx))
	f.check(f.PowerOn(f.ctx, name))
	f.check(f.Wait(f.ctx, name+" to say why it waits", func(ctx context.Context) (string, bool, error) {
		out, err := f.Run(ctx, name, "journalctl -b -o cat -u etcd-guard || true")
		return "", strings.Contains(out, "one that is silent may be cut off"), err
	}))
	select {
	case <-f.ctx.Done():
	case <-time.After(cableOut):
	}
	out, err := f.Run(f.ctx, name, "systemctl is-active etcd || true")
	f.check(err)
	if out != "inactive" {
		f.t.Errorf("the etcd of %s is %s without a network, want inactive", name, out)
	}
	f.check(m.Plug(f.ctx))
}

const (
	// cutRounds are clusters; in each, machines lose their power while they
	// become nodes: control planes so many times, workers once.
	cutRounds           = 2
	cutsOfControlPlanes = 3
	// cutWithin is the longest time from power on to a cut. A first boot runs
	// kubeadm after about 70 seconds, a later one after 40.
	cutWithin = 100 * time.Second
)

// TestPowerCuts cuts the power of machines at random moments of their
// bootstrap; each time they become one cluster.
func TestPowerCuts(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("again with -seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	for round := range cutRounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			// The other mode of keepalived: the address goes back to the first
			// control plane that works.
			f := newFleet(t, func(document []byte) []byte {
				return bytes.Replace(document, []byte("preemption: nopreempt"), []byte("preemption: preempt"), 1)
			})
			f.check(f.PowerOn(f.ctx, f.Nodes()...))
			var cuts errgroup.Group
			for _, name := range f.Nodes() {
				moments := make([]time.Duration, 1)
				if slices.Contains(f.ControlPlanes(), name) {
					moments = make([]time.Duration, cutsOfControlPlanes)
				}
				for i := range moments {
					moments[i] = time.Duration(random.Int64N(int64(cutWithin)))
				}
				cuts.Go(func() error { return f.cut(name, moments) })
			}
			f.check(cuts.Wait())
			f.whole()
			f.check(f.WriteObjects(f.ctx, objects))
			f.check(f.CheckObjects(f.ctx, objects))
			if round > 0 {
				return
			}
			first := f.ControlPlanes()[0]
			f.check(f.PowerOff(f.ctx, first))
			f.vipMoves(first)
			f.check(f.PowerOn(f.ctx, first))
			f.rejoin(first)
			f.vipIsAt(first)
		})
	}
}

// cut waits, cuts the power of a machine and starts it again, for each moment.
func (f *fleet) cut(name string, after []time.Duration) error {
	for _, wait := range after {
		f.t.Logf("%s: power cut after %s", name, wait.Round(time.Millisecond))
		select {
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case <-time.After(wait):
		}
		if err := f.PowerOff(f.ctx, name); err != nil {
			return err
		}
		if err := f.PowerOn(f.ctx, name); err != nil {
			return err
		}
	}
	return nil
}
