package reimage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/kube"
	"github.com/k8snode/k8snode/operate/power"
	"github.com/k8snode/k8snode/operate/reimage"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

const document = `apiVersion: k8snode.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.37.2}
  endpoint: {name: api.lab.internal, vip: 10.77.0.10, port: 8443}
  network: {ntp: [10.77.0.1]}
  provision: {address: 10.77.0.1}
  nodes:
    - {name: cp1, role: controlPlane, mac: "52:54:00:00:00:01", address: 10.77.0.11/24}
    - {name: cp2, role: controlPlane, mac: "52:54:00:00:00:02", address: 10.77.0.12/24}
    - {name: cp3, role: controlPlane, mac: "52:54:00:00:00:03", address: 10.77.0.13/24}
    - {name: w1, role: worker, mac: "52:54:00:00:00:04", address: 10.77.0.21/24}
`

func spec(t *testing.T) cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse("cluster.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// facts are of a cluster that is well, but for the nodes without.
func facts(without ...string) operate.Facts {
	f := operate.Facts{Version: "v1.37.2"}
	for i, name := range []string{"cp1", "cp2", "cp3", "w1"} {
		if strings.Contains(strings.Join(without, " "), name) {
			continue
		}
		f.Nodes = append(f.Nodes, kube.Node{Name: name, Ready: true, Version: "v1.37.2"})
		if name != "w1" {
			f.Members = append(f.Members, operate.Member{ID: uint64(i + 1), Name: name, Healthy: true, Leader: i == 0})
		}
	}
	return f
}

func TestNewPlan(t *testing.T) {
	ours := func(phase api.Phase) admin.Node {
		return admin.Node{Phase: phase, Transaction: reimage.Transaction, Open: true, Image: "0123"}
	}
	whole := []string{
		"open an install window of 45m0s, with the active image", "start its machine from the network",
		"wait until the image is on its disk", "wait until it has joined", "see that it is Ready", "close the window",
	}
	closed := func(n admin.Node) admin.Node {
		n.Open = false
		return n
	}
	for _, tt := range []struct {
		name, node string
		server     admin.Node
		facts      operate.Facts
		opts       reimage.Options
		want       []string
		err        string
	}{
		{name: "a worker", node: "w1", server: admin.Node{Phase: api.PhaseReady}, facts: facts(),
			want: append([]string{"move its pods to other nodes", "delete the Node object"}, whole...)},
		{name: "etcd's leader, another image", node: "cp1", server: admin.Node{Phase: api.PhaseReady}, facts: facts(), opts: reimage.Options{Image: "4567", Window: time.Hour}, want: []string{
			"move its pods to other nodes", "have etcd's leader hand over to cp2", "remove member 1 from etcd", "delete the Node object",
			"open an install window of 1h0m0s, with image 4567", "start its machine from the network", "wait until the image is on its disk",
			"wait until it has joined", "see that it is Ready, and its member of etcd healthy", "close the window",
		}},
		{name: "keeping etcd", node: "cp2", server: admin.Node{Phase: api.PhaseReady}, facts: facts(), opts: reimage.Options{KeepEtcd: true}, want: []string{
			"move its pods to other nodes", "delete the Node object",
			"open an install window of 45m0s, with the active image, keeping the data of etcd", "start its machine from the network", "wait until the image is on its disk",
			"wait until it has joined", "see that it is Ready, and its member of etcd healthy", "close the window",
		}},
		{name: "armed, and registered again", node: "w1", server: ours(api.PhaseArmed), facts: facts(), want: append([]string{"move its pods to other nodes", "delete the Node object"}, whole[1:]...)},
		{name: "armed", node: "w1", server: ours(api.PhaseArmed), facts: facts("w1"), want: whole[1:]},
		{name: "the window has ended", node: "w1", server: closed(ours(api.PhaseArmed)), facts: facts("w1"), want: whole},
		{name: "installing", node: "w1", server: ours(api.PhaseInstalling), facts: facts("w1"), opts: reimage.Options{Image: "0123"}, want: whole[2:]},
		{name: "installing, the window has ended", node: "w1", server: closed(ours(api.PhaseInstalling)), facts: facts("w1"), want: whole},
		{name: "joining", node: "w1", server: closed(ours(api.PhaseBootstrapping)), facts: facts(), want: whole[2:]},
		{name: "ready, not verified", node: "w1", server: closed(ours(api.PhaseReady)), facts: facts(), want: whole[4:]},
		{name: "failed", node: "w1", server: ours(api.PhaseFailed), facts: facts("w1"), want: whole},

		{name: "held", node: "w1", server: admin.Node{Phase: api.PhaseInstalling, Held: true, HeldFor: "too many installs in one window"}, facts: facts("w1"),
			err: "planning to reimage w1: it is held: too many installs in one window; let it go on with k8snode release w1, or close its window with k8snode disarm w1"},
		{name: "with another image", node: "w1", server: ours(api.PhaseInstalling), facts: facts("w1"), opts: reimage.Options{Image: "4567"},
			err: "planning to reimage w1: an install is under way, with image 0123; ask for the same, or close its window with k8snode disarm w1"},
		{name: "another way", node: "cp1", server: ours(api.PhaseArmed), facts: facts(), opts: reimage.Options{KeepEtcd: true}, err: "an install is under way, with image 0123; ask for the same"},
		{name: "somebody else's", node: "w1", server: admin.Node{Phase: api.PhaseInstalling, Open: true}, facts: facts("w1"),
			err: "planning to reimage w1: an install is under way (installing) that somebody began; wait for it"},
		{name: "no quorum", node: "cp1", server: admin.Node{Phase: api.PhaseReady}, facts: func() operate.Facts {
			f := facts()
			f.Members[2].Healthy = false
			return f
		}(), err: "etcd would lose its quorum"},
		{name: "a worker's etcd", node: "w1", server: admin.Node{Phase: api.PhaseReady}, facts: facts(), opts: reimage.Options{KeepEtcd: true}, err: "a worker has no etcd to keep"},
		{name: "nobody", node: "w9", server: admin.Node{Phase: api.PhaseReady}, facts: facts(), err: "planning to reimage w9: the cluster document has no such node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Name = tt.node
			p, err := reimage.NewPlan(spec(t), tt.facts, tt.server, tt.opts)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, p.Lines()); diff != "" {
				t.Error(diff)
			}
			if resumes := tt.server.Transaction != "" && len(p.Steps) < len(whole); p.Resumes != resumes {
				t.Errorf("resumes: %v", p.Resumes)
			}
		})
	}
}

// A world is a cluster, its provisioning server and a machine with a controller.
// Whoever looks at the server lets the machine make a step.
type world struct {
	node  admin.Node
	facts operate.Facts
	way   []admin.Node // what the machine reports, one after the other, once it was started
	on    bool
	did   []string
	// away is how often the server does not answer.
	away int
	fail string
}

func (w *world) do(what string) error {
	w.did = append(w.did, what)
	if w.fail == what {
		w.fail = ""
		return errors.New("it broke")
	}
	return nil
}

func (w *world) Nodes(context.Context) ([]admin.Node, error) {
	if w.away > 0 {
		w.away--
		return nil, errors.New("asking the provisioning server: connection refused")
	}
	if w.on && len(w.way) > 0 {
		next := w.way[0]
		w.way = w.way[1:]
		w.node.Phase, w.node.Step, w.node.Message, w.node.Held, w.node.HeldFor = next.Phase, next.Step, next.Message, next.Held, next.HeldFor
		if next.Phase == api.PhaseReady {
			w.node.Open, w.facts = false, facts()
		}
		if next.Name == "closed" {
			w.node.Open = false
		}
	}
	return []admin.Node{{Name: "other"}, w.node}, nil
}

func (w *world) Arm(_ context.Context, node string, opts admin.ArmOptions) (admin.Node, error) {
	if opts.Check {
		if w.fail == "check" {
			return admin.Node{}, errors.New("the image is for another cluster")
		}
		return w.node, nil
	}
	err := w.do(fmt.Sprintf("arm %s %+v", node, opts))
	w.node.Phase, w.node.Open, w.node.Transaction, w.node.Image = api.PhaseArmed, true, opts.Transaction, opts.Image
	return w.node, err
}

func (w *world) Disarm(_ context.Context, node string) (admin.Node, error) {
	if err := w.do("disarm " + node); err != nil {
		return admin.Node{}, err
	}
	w.node.Transaction = ""
	return w.node, nil
}

func (w *world) Look(context.Context) operate.Facts { return w.facts }

func (w *world) Remove(_ context.Context, p operate.Plan) error {
	w.facts = facts(p.Node)
	return w.do(fmt.Sprintf("remove %s in %d", p.Node, len(p.Steps)))
}

func (w *world) State(context.Context) (power.State, error) {
	if w.on {
		return power.On, nil
	}
	return power.Off, nil
}

func (w *world) Set(_ context.Context, s power.State) error {
	w.on = s == power.On
	return w.do("power " + string(s))
}

func (w *world) BootNetwork(context.Context) error { return w.do("boot from the network") }

func newWorld() *world {
	w := &world{node: admin.Node{Name: "cp1", Phase: api.PhaseReady}, facts: facts(), on: true}
	for _, p := range []api.Phase{api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping, api.PhaseFailed, api.PhaseBootstrapping, api.PhaseReady} {
		w.way = append(w.way, admin.Node{Phase: p})
	}
	return w
}

// run plans and does it, as a tool that is started again does.
func (w *world) run(t *testing.T, controller power.Controller) error {
	t.Helper()
	p, err := reimage.NewPlan(spec(t), w.facts, w.node, reimage.Options{Image: "0123"})
	if err != nil {
		return err
	}
	r := reimage.Runner{
		Server: w, Cluster: w, Power: controller, Pause: time.Millisecond, Cycle: power.CycleOptions{Pause: time.Millisecond},
		Limits: reimage.Limits{Install: 5 * time.Second, Bootstrap: 5 * time.Second, Verify: 50 * time.Millisecond, Failed: 5 * time.Millisecond, Away: 20 * time.Millisecond},
		Say:    func(text string) { w.did = append(w.did, "said: "+text) },
	}
	return r.Run(t.Context(), p)
}

var wholeWay = []string{
	"remove cp1 in 4",
	"arm cp1 {For:45m0s Image:0123 KeepEtcd:false Transaction:reimage Check:false}",
	"boot from the network", "power off", "power on",
	"said: cp1 installing", "said: cp1 installed",
	"said: cp1 configuring", "said: cp1 bootstrapping", "said: cp1 failed", "said: cp1 bootstrapping", "said: cp1 ready",
	"disarm cp1",
}

func TestRun(t *testing.T) {
	w := newWorld()
	w.away = 5
	if err := w.run(t, w); err != nil {
		t.Fatal(err)
	}
	var did []string
	for _, d := range w.did {
		if d != "said: asking the provisioning server: connection refused" {
			did = append(did, d)
		}
	}
	if diff := cmp.Diff(wholeWay, did); diff != "" {
		t.Error(diff)
	}
}

// Whatever breaks, the next run goes on there.
func TestRunAgain(t *testing.T) {
	for _, broken := range []string{wholeWay[0], wholeWay[1], wholeWay[2], wholeWay[3], wholeWay[4], wholeWay[len(wholeWay)-1]} {
		w := newWorld()
		w.fail = broken
		if err := w.run(t, w); err == nil || !strings.Contains(err.Error(), "it broke") {
			t.Fatalf("%s: %v", broken, err)
		}
		before := len(w.did)
		if err := w.run(t, w); err != nil {
			t.Fatalf("after %s broke: %v", broken, err)
		}
		if w.node.Transaction != "" || w.node.Phase != api.PhaseReady {
			t.Errorf("after %s broke, the node is %+v", broken, w.node)
		}
		removed := strings.Contains(strings.Join(w.did[before:], "\n"), "remove")
		if removed {
			t.Errorf("after %s broke, the node was removed a second time:\n%s", broken, strings.Join(w.did, "\n"))
		}
	}
}

func TestRunStops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"the disk", func(w *world) {
			w.way = []admin.Node{{Phase: api.PhaseInstalling}, {Phase: api.PhaseFailed, Message: "several disks match"}}
		}, "reimaging cp1: installing it: it has failed: several disks match"},
		{"held", func(w *world) {
			w.way = []admin.Node{{Phase: api.PhaseInstalling, Held: true, HeldFor: "too many installs in one window"}}
		}, "reimaging cp1: installing it: it is held: too many installs in one window"},
		{"the window", func(w *world) { w.way = []admin.Node{{Name: "closed", Phase: api.PhaseInstalling}} },
			"reimaging cp1: installing it: its window has ended; a longer one is opened with --for"},
		{"the image", func(w *world) { w.fail = "check" }, "reimaging cp1: the image is for another cluster"},
		{"the server", func(w *world) { w.away = 1000 }, "reimaging cp1: installing it: the server has been away for 20ms: asking the provisioning server: connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			tt.change(w)
			if err := w.run(t, w); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if tt.name == "the image" && len(w.did) > 0 {
				t.Errorf("did %q", w.did)
			}
		})
	}
}

func TestNobodyStartsTheMachine(t *testing.T) {
	w := newWorld()
	if err := w.run(t, nil); err != nil {
		t.Fatal(err)
	}
	if got := w.did[2]; got != "said: start the machine of cp1 from the network, now" {
		t.Error(got)
	}
}
