package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/provision/api"
)

func TestParseLab(t *testing.T) {
	got, err := cluster.Parse("valid-lab.yaml", read(t, "testdata/valid-lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := cluster.Cluster{
		APIVersion: "k8snode.io/v1alpha1",
		Kind:       "Cluster",
		Metadata:   cluster.Metadata{Name: "lab"},
		Spec: cluster.Spec{
			Kubernetes: cluster.Kubernetes{
				Version: "v1.37.2", ImageRepository: "registry.k8s.io",
				PodSubnet: "10.244.0.0/16", ServiceSubnet: "10.96.0.0/16", DNSDomain: "cluster.local",
				CertificateValidity: cluster.Duration(8760 * time.Hour),
				Kubelet: cluster.Kubelet{
					MaxPods: 110, ContainerLogMaxSize: "20Mi", ContainerLogMaxFiles: 5,
					ShutdownGracePeriod: cluster.Duration(30 * time.Second), ShutdownGracePeriodCriticalPods: cluster.Duration(10 * time.Second),
				},
				Proxy: cluster.Proxy{Mode: "nftables"},
			},
			Endpoint:         cluster.Endpoint{Name: "api.lab.internal", Port: 6443},
			HighAvailability: cluster.HighAvailability{Mode: "none"},
			Etcd: cluster.Etcd{
				Tuning: "slow", HeartbeatMillis: 250, ElectionMillis: 2000, QuotaGiB: 6,
				CompactionMode: "periodic", CompactionRetention: "1h", Generation: 1,
			},
			Runtime:   cluster.Runtime{Name: "containerd"},
			Network:   cluster.Network{CNI: "bridge"},
			Provision: cluster.Provision{Address: "10.77.0.1", HTTPPort: 8080, TLSPort: 8443},
			Nodes: []cluster.Node{
				{
					Name: "cp1", Role: cluster.ControlPlane, MAC: "52:54:00:6b:00:0b", Address: "10.77.0.11/24",
					Addressing: "static", Links: []cluster.Link{{Name: "lan0", MAC: "52:54:00:6b:00:0b"}}, Primary: "lan0",
					PodCIDR: "10.244.0.0/24", Disk: api.DiskSelection{MinSizeGiB: 8},
				},
				{
					Name: "w1", Role: cluster.Worker, MAC: "52:54:00:6b:00:15", Address: "10.77.0.21/24",
					Addressing: "static", Links: []cluster.Link{{Name: "lan0", MAC: "52:54:00:6b:00:15"}}, Primary: "lan0",
					PodCIDR: "10.244.1.0/24", Disk: api.DiskSelection{MinSizeGiB: 8},
				},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseValid(t *testing.T) {
	for _, file := range glob(t, "testdata/valid-*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := cluster.Parse(file, read(t, file)); err != nil {
				t.Errorf("got:\n%v\nwant no problem", err)
			}
		})
	}
}

func TestParseInvalid(t *testing.T) {
	for _, file := range glob(t, "testdata/invalid-*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := cluster.Parse(filepath.Base(file), read(t, file))
			var problems report.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			if diff := cmp.Diff(cluster.Cluster{}, c); diff != "" {
				t.Errorf("a cluster with problems is not empty (-want +got):\n%s", diff)
			}
			golden.Check(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(problems.Error()+"\n"))
		})
	}
}

// Warnings do not stop anybody; Lint shows them.
func TestLint(t *testing.T) {
	for _, file := range glob(t, "testdata/valid-*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, problems := cluster.Lint(filepath.Base(file), read(t, file))
			if c.Metadata.Name == "" || len(problems.Of(report.Error)) > 0 {
				t.Fatalf("got:\n%v\nwant a cluster and no error", problems)
			}
			golden.Check(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(problems.Error()+"\n"))
		})
	}
	_, problems := cluster.Lint("c.yaml", []byte("kind: ["))
	if len(problems.Of(report.Error)) == 0 {
		t.Error("no error about a file that is not YAML")
	}
}

// Every node without a prefix of its own gets one by its place in the list,
// whatever the others have, so that adding a node never moves another.
func TestDefaultPodCIDR(t *testing.T) {
	tests := []struct {
		subnet string
		nodes  []cluster.Node
		want   []string
	}{
		{"10.244.0.0/16", make([]cluster.Node, 3), []string{"10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"}},
		{"10.244.0.0/16", []cluster.Node{{}, {PodCIDR: "10.244.9.0/24"}, {}}, []string{"10.244.0.0/24", "10.244.9.0/24", "10.244.2.0/24"}},
		{"10.244.254.0/23", make([]cluster.Node, 3), []string{"10.244.254.0/24", "10.244.255.0/24", ""}},
		{"10.244.0.0/25", make([]cluster.Node, 1), []string{""}},
		{"fd00::/48", make([]cluster.Node, 1), []string{""}},
		{"nonsense", make([]cluster.Node, 1), []string{""}},
	}
	for _, tt := range tests {
		var c cluster.Cluster
		c.Spec.Kubernetes.PodSubnet = tt.subnet
		c.Spec.Nodes = tt.nodes
		before := fmt.Sprint(tt.nodes)
		var got []string
		for _, n := range c.Default().Spec.Nodes {
			got = append(got, n.PodCIDR)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.subnet, diff)
		}
		if after := fmt.Sprint(c.Spec.Nodes); after != before {
			t.Errorf("%s: Default changed its receiver to %s", tt.subnet, after)
		}
	}
	many := make([]cluster.Node, 257)
	var c cluster.Cluster
	c.Spec.Nodes = many
	nodes := c.Default().Spec.Nodes
	if got := nodes[255].PodCIDR; got != "10.244.255.0/24" {
		t.Errorf("node 255 has %q", got)
	}
	if got := nodes[256].PodCIDR; got != "" {
		t.Errorf("node 256 has %q, want none", got)
	}
}

func TestNodeAccessors(t *testing.T) {
	c, err := cluster.Parse("valid-lab.yaml", read(t, "testdata/valid-lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n, ok := c.Node("w1")
	if !ok {
		t.Fatal("node w1 not found")
	}
	if got := n.IP().String(); got != "10.77.0.21" {
		t.Errorf("IP: got %s", got)
	}
	if got := n.Prefix().String(); got != "10.77.0.21/24" {
		t.Errorf("Prefix: got %s", got)
	}
	if got := n.HardwareAddr().String(); got != "52:54:00:6b:00:15" {
		t.Errorf("HardwareAddr: got %s", got)
	}
	if _, ok := c.Node("w2"); ok {
		t.Error("node w2 found")
	}
	if got := c.ControlPlanes(); len(got) != 1 || got[0].Name != "cp1" {
		t.Errorf("ControlPlanes: got %v", got)
	}
	broken := cluster.Node{Address: "10.77.0.21", MAC: "52:54:00:6b:00:15:00:00"}
	if broken.IP().IsValid() || broken.Prefix().IsValid() || broken.HardwareAddr() != nil {
		t.Errorf("a node that is not valid: got %s, %s, %s, want zero values", broken.IP(), broken.Prefix(), broken.HardwareAddr())
	}
}

func TestDurationString(t *testing.T) {
	if got := cluster.Duration(8760 * time.Hour).String(); got != "8760h0m0s" {
		t.Errorf("got %s", got)
	}
}

// A cluster that Parse accepts keeps the promises of the package.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := cluster.Parse("c.yaml", data)
		if err != nil {
			var problems report.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Col < 1 {
					t.Errorf("problem without a place: %+v", p)
				}
			}
			return
		}
		if len(c.ControlPlanes()) == 0 {
			t.Error("accepted a cluster without a control plane")
		}
		for _, n := range c.Spec.Nodes {
			_, primary := n.Link(n.Primary)
			if !n.IP().Is4() || n.HardwareAddr() == nil || n.PodCIDR == "" || !primary {
				t.Errorf("accepted node %+v", n)
			}
		}
		if diff := cmp.Diff(c, c.Default()); diff != "" {
			t.Errorf("Default changes a parsed cluster:\n%s", diff)
		}
		if problems := c.Validate().Of(report.Error); len(problems) > 0 {
			t.Errorf("Validate refuses a parsed cluster:\n%v", problems)
		}
	})
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
