package change_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/butane/change"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/golden"
)

// Each edit of the guide's cluster, and what it means for every node.
func TestCompare(t *testing.T) {
	const file = "../cluster/testdata/valid-ha.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	before := parse(t, text)
	var out strings.Builder
	for _, edit := range []struct{ name, old, new string }{
		{"nothing", "", ""},
		{"a sysctl", `net.core.somaxconn: "4096"`, `net.core.somaxconn: "8192"`},
		{"a time server", "ntp: [172.29.33.253]", "ntp: [172.29.33.252]"},
		{"a name server", "dns: [172.29.33.253]", "dns: [172.29.33.252]"},
		{"haproxy's limit", "maxConnections: 20000", "maxConnections: 30000"},
		{"no preemption", "preemption: preempt\n    preemptDelaySeconds: 60\n", "preemption: nopreempt\n"},
		{"the VIP", "vip: 172.29.33.230", "vip: 172.29.33.231"},
		{"etcd's tuning", "tuning: lan", "tuning: slow"},
		{"etcd's quota", "quotaGiB: 8", "quotaGiB: 6"},
		{"a registry", "host: 21.49.22.250, insecure", "host: 21.49.22.251, insecure"},
		{"the runtime", "name: docker\n    containerQuotaGiB: 10\n", "name: containerd\n"},
		{"the audit policy", "level: Metadata", "level: Request"},
		{"more pods", "maxPods: 200", "maxPods: 220"},
		{"Kubernetes", "version: v1.37.2", "version: v1.37.3"},
		{"the name of the endpoint", "name: api.cs1.example.org", "name: api2.cs1.example.org"},
		{"the pods' subnet", "podSubnet: 10.244.0.0/16", "podSubnet: 10.245.0.0/16"},
		{"a key", "GhscHR4f operator", "GhscHR4f another"},
		{"a link's MTU", "{links: [lan0, lan1]}, mtu: 9000", "{links: [lan0, lan1]}, mtu: 1500"},
		{"a worker's address", "address: 172.29.33.11/24", "address: 172.29.33.12/24"},
		{"a worker's labels", "example.org/gpu: a100", "example.org/gpu: h100"},
		{"a worker is a control plane", "name: cs1-k8s-w1\n      role: worker", "name: cs1-k8s-w1\n      role: controlPlane"},
		{"a worker is renamed", "name: cs1-k8s-w1", "name: cs1-k8s-w2"},
		{"a unit of the operator's", "rx 4096", "rx 2048"},
		{"a mount goes", "roles: [worker]\n      - {path: /var/data/nfs", "roles: [controlPlane]\n      - {path: /var/data/nfs"},
		{"another disk", "address: 172.29.33.1/24", "address: 172.29.33.1/24\n      disk: {serial: S1}"},
	} {
		edited := strings.ReplaceAll(text, edit.old, edit.new)
		if edit.old != "" && edited == text {
			t.Fatalf("%s: nothing to edit", edit.name)
		}
		if edit.old == "" {
			edited = text
		}
		nodes, err := change.Compare(before, parse(t, edited))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "== %s\n", edit.name)
		for _, n := range nodes {
			fmt.Fprintf(&out, "%s %s\n", n.Name, n.Effect)
			for _, d := range n.Differences {
				fmt.Fprintf(&out, "    %s %s %s %s\n", d.Effect, d.What, d.Services, d.Note)
			}
		}
	}
	golden.Check(t, "testdata/changes.txt", []byte(out.String()))
}

func parse(t *testing.T, text string) cluster.Cluster {
	t.Helper()
	c, problems := cluster.Lint("c.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		// Some edits are of what Validate refuses and Compare need not know.
		t.Logf("%v", err)
	}
	return c
}
