package operate_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/kube"
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

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func spec(t *testing.T) cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse("cluster.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// facts are of a cluster that is well; change changes them.
func facts(change func(*operate.Facts)) operate.Facts {
	f := operate.Facts{Version: "v1.37.2"}
	for i, name := range []string{"cp1", "cp2", "cp3"} {
		f.Nodes = append(f.Nodes, kube.Node{Name: name, ControlPlane: true, Ready: true, Version: "v1.37.2"})
		f.Members = append(f.Members, operate.Member{ID: uint64(i + 1), Name: name, Healthy: true, Leader: i == 0, Size: 100 << 20, Quota: 8 << 30})
	}
	f.Nodes = append(f.Nodes, kube.Node{Name: "w1", Ready: true, Version: "v1.37.2"})
	f.Certificates = []operate.Certificate{{Of: "the API server of cp1 at 10.77.0.11:6443", NotAfter: now.AddDate(1, 0, 0)}}
	if change != nil {
		change(&f)
	}
	return f
}

// withEvents has a second etcd.
func withEvents(f *operate.Facts) {
	for _, m := range f.Members {
		m.Instance, m.ID = node.Events, m.ID+10
		f.Events = append(f.Events, m)
	}
}

func TestPlanRemove(t *testing.T) {
	away := func(name string) func(*operate.Facts) {
		return func(f *operate.Facts) {
			for i := range f.Members {
				if f.Members[i].Name == name {
					f.Members[i].Healthy, f.Members[i].Leader = false, false
				}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		node   string
		change func(*operate.Facts)
		opts   operate.RemoveOptions
		want   []string
		err    string
	}{
		{name: "its data stays", node: "cp1", opts: operate.RemoveOptions{KeepEtcd: true}, want: []string{
			"move its pods to other nodes", "have etcd's leader hand over to cp2", "delete the Node object",
		}},
		{name: "its data stays, another one is lost", node: "cp1", opts: operate.RemoveOptions{KeepEtcd: true}, change: away("cp3"),
			err: "etcd would lose its quorum: of the 2 other members 1 answer, and 2 must"},
		{name: "the data of the only member stays", node: "cp1", opts: operate.RemoveOptions{KeepEtcd: true},
			change: func(f *operate.Facts) { f.Members = f.Members[:1] }, want: []string{"move its pods to other nodes", "delete the Node object"}},
		{name: "no data to keep", node: "w1", opts: operate.RemoveOptions{KeepEtcd: true}, err: "planning to remove w1: it has no member of etcd to keep"},
		{name: "a worker", node: "w1", want: []string{"move its pods to other nodes", "delete the Node object"}},
		{name: "a control plane", node: "cp2", want: []string{"move its pods to other nodes", "remove member 2 from etcd", "delete the Node object"}},
		{name: "etcd's leader", node: "cp1", want: []string{
			"move its pods to other nodes", "have etcd's leader hand over to cp2", "remove member 1 from etcd", "delete the Node object",
		}},
		{name: "one that is lost", node: "cp1", change: away("cp1"), want: []string{"move its pods to other nodes", "remove member 1 from etcd", "delete the Node object"}},
		{name: "another one is lost", node: "cp2", change: away("cp3"), err: "planning to remove cp2: etcd would lose its quorum: of the 2 other members 1 answer, and 2 must"},
		{name: "a second time", node: "cp2", change: func(f *operate.Facts) {
			f.Nodes, f.Members = append(f.Nodes[:1:1], f.Nodes[2:]...), append(f.Members[:1:1], f.Members[2:]...)
		}},
		{name: "interrupted", node: "cp2", change: func(f *operate.Facts) { f.Members = append(f.Members[:1:1], f.Members[2:]...) },
			want: []string{"move its pods to other nodes", "delete the Node object"}},
		{name: "a learner", node: "cp3", change: func(f *operate.Facts) { f.Members[2].Learner = true },
			want: []string{"move its pods to other nodes", "remove member 3 from etcd", "delete the Node object"}},
		{name: "the last member", node: "cp1", change: func(f *operate.Facts) { f.Members = f.Members[:1] }, err: "etcd would lose its quorum: cp1 is its only member, whose data can be kept: k8snode reimage --keep-etcd"},
		{name: "of no document", node: "old", change: func(f *operate.Facts) { f.Nodes = append(f.Nodes, kube.Node{Name: "old"}) },
			want: []string{"move its pods to other nodes", "delete the Node object"}},
		{name: "with an etcd of events", node: "cp1", change: withEvents, want: []string{
			"move its pods to other nodes", "have etcd's leader hand over to cp2", "remove member 1 from etcd",
			"have the leader of the etcd of events hand over to cp2", "remove member b from the etcd of events", "delete the Node object",
		}},
		{name: "events would lose their quorum", node: "cp2", change: func(f *operate.Facts) {
			withEvents(f)
			f.Events[2].Healthy = false
		}, err: "planning to remove cp2: etcd would lose its quorum: of the 2 other members 1 answer, and 2 must"},
		{name: "a member of the etcd of events alone", node: "cp2", change: func(f *operate.Facts) {
			withEvents(f)
			f.Nodes, f.Members = append(f.Nodes[:1:1], f.Nodes[2:]...), append(f.Members[:1:1], f.Members[2:]...)
		}, want: []string{"remove member c from the etcd of events"}},
		{name: "nobody", node: "cp9", err: "there is no such node, neither in the document nor in the cluster"},
		{name: "no API server", node: "w1", change: func(f *operate.Facts) {
			f.Version, f.Nodes = "", nil
			f.Silent = []operate.Silence{{What: "the API server", Err: errors.New("connection refused")}}
		}, err: "no API server answers (the API server: connection refused)"},
		{name: "no etcd", node: "w1", change: func(f *operate.Facts) { f.Members = nil }, err: "no member of etcd answers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := operate.PlanRemove(spec(t), facts(tt.change), tt.node, tt.opts)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range plan.Steps {
				got = append(got, s.Text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiagnose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*operate.Facts)
		files  []operate.Certificate
		want   []string // but what is fine
	}{
		{name: "well"},
		{name: "certificates", files: []operate.Certificate{
			{Of: "late", NotAfter: now.Add(59 * 24 * time.Hour)}, {Of: "first", NotAfter: now.Add(time.Hour)}, {Of: "over", NotAfter: now.Add(-time.Hour)},
		}, want: []string{"now over: expired 2026-05-01", "soon first: expires 2026-05-01, in 0 days", "soon late: expires 2026-06-29, in 59 days"}},
		{name: "silence", change: func(f *operate.Facts) {
			f.Silent = []operate.Silence{{What: "etcd of cp1", Err: errors.New("timeout")}}
		}, want: []string{"now etcd of cp1: does not answer: timeout"}},
		{name: "nodes", change: func(f *operate.Facts) {
			f.Nodes[0].Ready, f.Nodes[0].Reason = false, "KubeletNotReady: no network"
			f.Nodes[1].Version = "v1.38.0"
			f.Nodes[2].Version = "v1.33.1"
			f.Nodes[3] = kube.Node{Name: "old", Ready: true, Version: "v1.36.1", Drained: true}
		}, want: []string{
			"now node cp1: is not Ready: KubeletNotReady: no network",
			"now node cp2: its kubelet v1.38.0 is newer than the API server v1.37.2",
			"now node cp3: its kubelet v1.33.1 is more than 3 versions older than the API server v1.37.2",
			"now node w1: is in the document and not in the cluster",
			"soon node old: is in the cluster and not in the document",
			"soon node old: takes no pods (it is cordoned)",
			"soon node old: runs v1.36.1, and the document says v1.37.2",
		}},
		{name: "etcd", change: func(f *operate.Facts) {
			f.Members[0].Healthy = false
			f.Members[1].Alarms = []string{"memberID:2 alarm:NOSPACE "}
			f.Members[1].Size = 7 << 30
			f.Members[2].Learner, f.Members[2].Name = true, "cp7"
		}, want: []string{
			"now etcd member cp1: does not answer", "now etcd member cp2: memberID:2 alarm:NOSPACE ", "now etcd member cp7: is no node of the document",
			"soon etcd member cp2: holds 7168 MiB, 88 % of its quota", "soon etcd member cp7: does not vote yet",
		}},
		{name: "a member is missing", change: func(f *operate.Facts) { f.Members = f.Members[:2] }, want: []string{"now etcd: has 2 members of 3"}},
		{name: "the etcd of events is not well", change: func(f *operate.Facts) {
			withEvents(f)
			f.Events = f.Events[:2]
			f.Events[1].Healthy = false
		}, want: []string{"now etcd of events member cp2: does not answer", "now etcd of events: has 2 members of 3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := facts(tt.change)
			var got []string
			last := operate.Now
			for _, finding := range operate.Diagnose(spec(t), &f, tt.files, now) {
				if finding.Urgency < last {
					t.Errorf("%v comes after what is less urgent", finding)
				}
				if last = finding.Urgency; last == operate.Fine {
					continue
				}
				got = append(got, finding.Urgency.String()+" "+finding.Subject+": "+finding.Message)
				if finding.Remedy == "" {
					t.Errorf("%v has no remedy", finding)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The earliest certificate of each config is found, in whatever form.
func TestOfRendered(t *testing.T) {
	b, err := pki.New(pki.Options{Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.Operator(pki.Options{Now: now, Rand: rand.Reader, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := butane.Kubeconfig(spec(t), b, pki.Options{Now: now, Rand: rand.Reader, Validity: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	folder := fstest.MapFS{
		"plain.ign":      {Data: config(t, "/etc/a.crt", []byte(b.Etcd.Certificate), "/etc/b.crt", []byte(first.Certificate))},
		"kubeconfig.ign": {Data: config(t, "/etc/a.crt", []byte(b.Etcd.Certificate), "/etc/admin.conf", kubeconfig)},
		"none.ign":       {Data: config(t, "/etc/motd", []byte("hello"))},
		"index.json":     {Data: []byte("{}")},
	}
	got, err := operate.OfRendered(folder)
	want := []operate.Certificate{
		{Of: "rendered kubeconfig.ign, /etc/admin.conf", NotAfter: now.Add(2 * time.Hour)},
		{Of: "rendered plain.ign, /etc/b.crt", NotAfter: now.Add(time.Hour)},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, folder := range map[string]fs.FS{
		"no config": fstest.MapFS{},
		"no JSON":   fstest.MapFS{"a.ign": {Data: []byte("{")}},
	} {
		if _, err := operate.OfRendered(folder); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := operate.OfRendered(os.DirFS(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("no folder: no error")
	}
}

// A cluster that is not there is silent, and nothing else is known of it.
func TestLookAtNothing(t *testing.T) {
	c := spec(t)
	for i := range c.Spec.Nodes {
		// Nothing listens at the loopback's address with these ports.
		c.Spec.Nodes[i].Address = "127.0.0.1/8"
	}
	c.Spec.Endpoint.VIP = "127.0.0.1"
	b, err := pki.New(pki.Options{Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	live, err := operate.Connect(c, b, pki.Options{Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	found := live.Look(t.Context())
	if len(found.Silent) != 8 || found.Version != "" || len(found.Nodes)+len(found.Members)+len(found.Certificates) > 0 {
		t.Errorf("got %+v", found)
	}
}
