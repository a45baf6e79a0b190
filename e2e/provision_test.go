package e2e_test

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/ha"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

var imageNext = flag.String("image-next", "", "output `folder` of another bake, which a cluster is upgraded to")

// TestProvision has four machines with empty disks install themselves from a real
// server, and installs each of them again with one command: as it is planned, around
// the data of etcd, with the tool and the server killed in the middle, and through power
// cuts and a cable that is pulled.
func TestProvision(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("again with -seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 1))
	f := newFleetOf(t, ha.Options{Netboot: true})
	f.check(f.StartServer(f.ctx))
	controllers, err := f.Controllers(f.ctx)
	f.check(err)

	// Empty disks: nothing happens until an operator says so.
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	_, err = f.Ask(f.ctx, append([]string{"arm", "--for", "2h"}, f.Nodes()...)...)
	f.check(err)
	for _, name := range f.Nodes() {
		f.reaches(name, api.PhaseReady)
	}
	f.whole()
	f.check(f.WriteObjects(f.ctx, objects))
	f.healthy()

	cps := f.ControlPlanes()
	// The one that began the cluster, as it is planned.
	f.reimage(controllers, cps[0])
	f.rejoin(cps[0])

	// A new system around the data of etcd.
	before, err := f.MemberID(f.ctx, cps[1])
	f.check(err)
	f.reimage(controllers, cps[1], "--keep-etcd")
	f.rejoin(cps[1])
	after, err := f.MemberID(f.ctx, cps[1])
	f.check(err)
	if before != after {
		t.Errorf("the member of %s was %x and is %x: its data was not kept", cps[1], before, after)
	}

	// The tool is killed again and again, and the server once; the last run ends it.
	for range 4 {
		wait, kill, err := f.Operate(f.ctx, controllers, "reimage", cps[2])
		f.check(err)
		sleep(f.ctx, time.Duration(random.Int64N(int64(40*time.Second))))
		f.check(kill(f.ctx))
		said, _ := wait()
		t.Logf("killed after:\n%s", said)
	}
	f.check(f.KillServer(f.ctx))
	f.check(f.StartServer(f.ctx))
	f.reimage(controllers, cps[2])
	f.rejoin(cps[2])

	// The power, the server and the cable go while a worker is installed.
	worker := f.Nodes()[len(f.Nodes())-1]
	var group errgroup.Group
	group.Go(func() error {
		said, err := f.reimaged(controllers, worker, "--for", "3h")
		t.Logf("through power cuts:\n%s", said)
		return err
	})
	for i := range 3 {
		f.installing(worker)
		sleep(f.ctx, time.Duration(random.Int64N(int64(20*time.Second))))
		f.interrupt(worker, i)
	}
	f.check(group.Wait())
	f.rejoin(worker)
	f.healthy()
	n, err := f.ProvisionedNode(f.ctx, worker)
	f.check(err)
	if n.Open || n.Transaction != "" || n.Held {
		t.Errorf("after all, the server says of %s: %+v", worker, n)
	}
}

// TestSingle installs the only control plane of a cluster again, around its data: nobody
// is there that it could join.
func TestSingle(t *testing.T) {
	f := newFleetOf(t, ha.Options{Netboot: true, Change: func(document []byte) []byte {
		before, after, ok := bytes.Cut(document, []byte("    - name: cp2\n"))
		_, worker, found := bytes.Cut(after, []byte("    - name: w1\n"))
		if !ok || !found {
			t.Fatal("the document of the lab is another one")
		}
		return slices.Concat(before, []byte("    - name: w1\n"), worker)
	}})
	f.check(f.StartServer(f.ctx))
	controllers, err := f.Controllers(f.ctx)
	f.check(err)
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	_, err = f.Ask(f.ctx, append([]string{"arm", "--for", "2h"}, f.Nodes()...)...)
	f.check(err)
	f.whole()
	f.check(f.WriteObjects(f.ctx, objects))
	only := f.ControlPlanes()[0]
	before, err := f.MemberID(f.ctx, only)
	f.check(err)

	if said, err := f.reimaged(controllers, only); err == nil || !strings.Contains(said, "whose data can be kept: k8snode reimage --keep-etcd") {
		t.Errorf("the only member was given up (%v):\n%s", err, said)
	}
	f.reimage(controllers, only, "--keep-etcd")
	f.rejoin(only)
	after, err := f.MemberID(f.ctx, only)
	f.check(err)
	if before != after {
		t.Errorf("the member was %x and is %x: its data was not kept", before, after)
	}
	f.healthy()
}

// TestUpgrade brings another image to a cluster, by one command that is killed once.
func TestUpgrade(t *testing.T) {
	if *imageNext == "" {
		t.Skip("no -image-next: make test-provision passes it")
	}
	f := newFleetOf(t, ha.Options{Netboot: true, MoreImages: []string{*imageNext}})
	next, err := images.OpenManifest(*imageNext)
	must(t, err)
	f.check(f.StartServer(f.ctx))
	f.check(f.Publish(f.ctx))
	controllers, err := f.Controllers(f.ctx)
	f.check(err)
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	_, err = f.Ask(f.ctx, append([]string{"arm", "--for", "2h"}, f.Nodes()...)...)
	f.check(err)
	f.whole()
	f.check(f.WriteObjects(f.ctx, objects))

	upgrade := func() (func() (string, error), func(context.Context) error) {
		wait, kill, err := f.Operate(f.ctx, controllers, "upgrade", "--image", next.ID)
		f.check(err)
		return wait, kill
	}
	wait, kill := upgrade()
	f.installing(f.ControlPlanes()[1])
	f.check(kill(f.ctx))
	said, _ := wait()
	t.Logf("killed after:\n%s", said)
	began := time.Now()
	wait, _ = upgrade()
	said, err = wait()
	t.Logf("upgraded, %s:\n%s", time.Since(began).Round(time.Second), said)
	f.check(err)
	for _, name := range f.Nodes() {
		n, err := f.ProvisionedNode(f.ctx, name)
		f.check(err)
		if n.Image != next.ID || n.Phase != api.PhaseReady || n.Transaction != "" {
			t.Errorf("after the upgrade, the server says of %s: %+v", name, n)
		}
	}
	f.whole()
	f.check(f.CheckObjects(f.ctx, objects))
	f.healthy()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// interrupt does one of several bad things to a machine that installs itself.
func (f *fleet) interrupt(name string, which int) {
	f.t.Helper()
	switch which {
	case 0:
		f.check(f.PowerOff(f.ctx, name))
		f.check(f.PowerOn(f.ctx, name))
	case 1:
		f.check(f.KillServer(f.ctx))
		sleep(f.ctx, 20*time.Second)
		f.check(f.StartServer(f.ctx))
	case 2:
		f.check(f.Machine(name).Unplug(f.ctx))
		sleep(f.ctx, 45*time.Second)
		f.check(f.Machine(name).Plug(f.ctx))
	}
}

// reaches waits until the server has heard that a machine is so far, or farther.
func (f *fleet) reaches(name string, want api.Phase) admin.Node {
	f.t.Helper()
	var n admin.Node
	f.check(f.Wait(f.ctx, name+" to be "+string(want), func(ctx context.Context) (string, bool, error) {
		var err error
		if n, err = f.ProvisionedNode(ctx, name); err != nil {
			return "", false, nil // The server may be away.
		}
		return strings.Join([]string{string(n.Phase), n.Step, n.Message}, " "), rank(n.Phase) >= rank(want), nil
	}))
	return n
}

// installing waits until a machine is at it in a reimage.
func (f *fleet) installing(name string) {
	f.t.Helper()
	f.check(f.Wait(f.ctx, name+" to be installing", func(ctx context.Context) (string, bool, error) {
		n, err := f.ProvisionedNode(ctx, name)
		if err != nil {
			return "", false, nil
		}
		return string(n.Phase) + " " + n.Step, n.Transaction != "" && rank(n.Phase) >= rank(api.PhaseInstalling), nil
	}))
}

// rank is the place of a phase on the way to a node; failed is behind none.
func rank(p api.Phase) int {
	for i, phase := range api.Phases() {
		if phase == p && p != api.PhaseFailed {
			return i
		}
	}
	return -1
}

// reimage installs a node again, and fails the test if that fails.
func (f *fleet) reimage(controllers, name string, flags ...string) {
	f.t.Helper()
	began := time.Now()
	said, err := f.reimaged(controllers, name, flags...)
	f.t.Logf("reimage of %s, %s:\n%s", name, time.Since(began).Round(time.Second), said)
	f.check(err)
}

func (f *fleet) reimaged(controllers, name string, flags ...string) (string, error) {
	wait, _, err := f.Operate(f.ctx, controllers, append([]string{"reimage", name}, flags...)...)
	if err != nil {
		return "", err
	}
	return wait()
}
