package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/kube"
	"github.com/k8snode/k8snode/operate/reimage"
	"github.com/k8snode/k8snode/operate/rollout"
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
    - {name: w1, role: worker, mac: "52:54:00:00:00:04", address: 10.77.0.21/24}
    - {name: w2, role: worker, mac: "52:54:00:00:00:05", address: 10.77.0.22/24}
    - {name: w3, role: worker, mac: "52:54:00:00:00:06", address: 10.77.0.23/24}
    - {name: cp1, role: controlPlane, mac: "52:54:00:00:00:01", address: 10.77.0.11/24}
    - {name: cp2, role: controlPlane, mac: "52:54:00:00:00:02", address: 10.77.0.12/24}
    - {name: cp3, role: controlPlane, mac: "52:54:00:00:00:03", address: 10.77.0.13/24}
`

func spec(t *testing.T) cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse("cluster.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// state is of a cluster whose nodes have image old and v1.37.1; done have image new.
func state(version string, done ...string) rollout.State {
	s := rollout.State{
		Cluster: operate.Facts{Version: "v1.37.1"},
		Images: []admin.Image{
			{ID: "old", Kubernetes: "v1.37.1", Active: true}, {ID: "new", Kubernetes: version},
			{ID: "half", Upload: &admin.Upload{}}, {ID: "odd", Kubernetes: "latest"},
		},
	}
	for _, name := range []string{"cp1", "cp2", "cp3", "w1", "w2", "w3"} {
		n := admin.Node{Name: name, Phase: api.PhaseReady, Image: "old"}
		if strings.Contains(strings.Join(done, " "), name) {
			n.Image = "new"
		}
		s.Nodes = append(s.Nodes, n)
		s.Cluster.Nodes = append(s.Cluster.Nodes, kube.Node{Name: name, Version: "v1.37.1", Ready: true})
	}
	return s
}

func TestNewPlan(t *testing.T) {
	versioned := func(lines ...string) []string {
		all := append([]string{"have kubeadm install v1.37.2 from now on", "have kube-proxy change to v1.37.2 with its nodes"}, lines...)
		return append(all, "have kube-proxy update by itself again")
	}
	for _, tt := range []struct {
		name  string
		state rollout.State
		opts  rollout.Options
		want  []string
		err   string
	}{
		{name: "the same version", state: state("v1.37.1"), opts: rollout.Options{Image: "new"},
			want: []string{"reimage cp1", "reimage cp2", "reimage cp3", "reimage w1", "reimage w2", "reimage w3"}},
		{name: "another patch", state: state("v1.37.2"), opts: rollout.Options{Image: "new", Batch: 2, KeepEtcd: true}, want: versioned(
			"reimage cp1, keeping the data of etcd", "reimage cp2, keeping the data of etcd", "reimage cp3, keeping the data of etcd", "reimage w1, w2", "reimage w3",
		)},
		{name: "it goes on", state: state("v1.37.2", "cp1", "cp2", "w2"), opts: rollout.Options{Image: "new"}, want: versioned("reimage cp3", "reimage w1", "reimage w3")},
		{name: "one was interrupted", state: func() rollout.State {
			s := state("v1.37.2", "cp1", "cp2", "cp3", "w1", "w2", "w3")
			s.Nodes[5].Transaction, s.Nodes[5].Phase = reimage.Transaction, api.PhaseInstalling
			return s
		}(), opts: rollout.Options{Image: "new"}, want: versioned("reimage w3")},
		{name: "some", state: state("v1.37.1"), opts: rollout.Options{Image: "new", Nodes: []string{"w2"}}, want: []string{"reimage w2"}},
		{name: "nothing is left", state: state("v1.37.2", "cp1", "cp2", "cp3", "w1", "w2", "w3"), opts: rollout.Options{Image: "new"}},
		{name: "the active image", state: state("v1.37.2")},

		{name: "a worker first", state: state("v1.37.2", "cp1"), opts: rollout.Options{Image: "new", Nodes: []string{"w2"}},
			err: "planning an upgrade: the versions of Kubernetes must not meet: a kubelet must not be newer than an API server, and cp2, cp3 would be older: upgrade control planes first"},
		{name: "two minor versions", state: state("v1.39.0"), opts: rollout.Options{Image: "new"}, err: "the cluster has v1.37.1, the image v1.39.0; one minor version at a time"},
		{name: "backward", state: state("v1.36.9"), opts: rollout.Options{Image: "new"}, err: "the cluster has v1.37.1, the image v1.36.9; an API server does not read what a newer one wrote"},
		{name: "no version", state: state("v1.37.1"), opts: rollout.Options{Image: "odd"}, err: `the image says that its Kubernetes is "latest", which is no version`},
		{name: "no image", state: state("v1.37.1"), opts: rollout.Options{Image: "none"}, err: "the server has no image none: see k8snode images"},
		{name: "half an image", state: state("v1.37.1"), opts: rollout.Options{Image: "half"}, err: "image half is not complete: publish it again"},
		{name: "no active image", state: rollout.State{}, err: "the server has no active image: k8snode images activate ID"},
		{name: "no node", state: state("v1.37.1"), opts: rollout.Options{Image: "new", Nodes: []string{"w9"}}, err: "the cluster document has no node w9"},
		{name: "another document", state: rollout.State{Cluster: operate.Facts{Version: "v1.37.1"}, Images: []admin.Image{{ID: "new", Kubernetes: "v1.37.1"}}}, opts: rollout.Options{Image: "new"},
			err: "the provisioning server has no node w1"},
		{name: "no API server", state: rollout.State{Images: []admin.Image{{ID: "new", Kubernetes: "v1.37.1"}}}, opts: rollout.Options{Image: "new"}, err: "no API server answers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "the active image" {
				for i := range tt.state.Nodes {
					tt.state.Nodes[i].Image = "old"
				}
			}
			p, err := rollout.NewPlan(spec(t), tt.state, tt.opts)
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
			if n := len(p.Batches); n > 0 {
				last := p.Batches[n-1][0]
				if o := p.Options(last, reimage.Options{}); o.Image != "new" || o.KeepEtcd {
					t.Errorf("the options of %s are %+v", last, o)
				}
			}
		})
	}
}

// changes records what is done to a cluster.
type changes struct {
	mu   sync.Mutex
	did  []string
	fail string
}

func (c *changes) do(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did = append(c.did, what)
	if what == c.fail {
		return errors.New("it broke")
	}
	return nil
}

func (c *changes) SetVersion(_ context.Context, v string) error { return c.do("set " + v) }
func (c *changes) StageProxy(_ context.Context, v string) error { return c.do("stage " + v) }
func (c *changes) ReleaseProxy(context.Context) error           { return c.do("release") }

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		fail string
		want string
		err  string
	}{
		{want: "set v1.37.2, stage v1.37.2, cp3, w1, w3, release"},
		{fail: "set v1.37.2", want: "set v1.37.2", err: "upgrading: it broke"},
		{fail: "cp3", want: "set v1.37.2, stage v1.37.2, cp3", err: "upgrading: it broke; run it again when that is mended, it goes on there"},
		{fail: "w1", want: "set v1.37.2, stage v1.37.2, cp3, w1", err: "upgrading: it broke; run it again"},
	} {
		p, err := rollout.NewPlan(spec(t), state("v1.37.2", "cp1", "cp2", "w2"), rollout.Options{Image: "new"})
		if err != nil {
			t.Fatal(err)
		}
		c := &changes{fail: tt.fail}
		var begun []string
		err = rollout.Runner{
			Cluster: c, Begin: func(text string) { begun = append(begun, text) },
			Reimage: func(_ context.Context, name string) error { return c.do(name) },
		}.Run(t.Context(), p)
		if got := strings.Join(c.did, ", "); got != tt.want {
			t.Errorf("%s: did %s, want %s", tt.fail, got, tt.want)
		}
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: got %v, want %s", tt.fail, err, tt.err)
		}
		if len(begun) != len(c.did) {
			t.Errorf("%s: said %s", tt.fail, fmt.Sprint(begun))
		}
	}
}

// A rollout that ended just before its end is brought to it.
func TestRunNothing(t *testing.T) {
	c := &changes{}
	if err := (rollout.Runner{Cluster: c}).Run(t.Context(), rollout.Plan{}); err != nil || len(c.did) != 1 || c.did[0] != "release" {
		t.Errorf("%v, did %q", err, c.did)
	}
}
