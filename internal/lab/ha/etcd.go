package ha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"

	"github.com/k8snode/k8snode/agent/node"
)

// An Etcd is the cluster of etcd, as one of its members says it is.
type Etcd struct {
	// ID of the cluster.
	ID uint64
	// Voters and Learners are names; a member that has never run has none.
	Voters, Learners []string
}

// etcdctl asks all members, or one, with the certificate of its node.
func (c *Cluster) etcdctl(ctx context.Context, name, command string) (string, error) {
	n, ok := c.Spec.Node(name)
	if !ok {
		return "", fmt.Errorf("there is no node %s", name)
	}
	in := func(file string) string { return path.Join(node.EtcdPKIDir, file) }
	return c.Run(ctx, name, strings.Join([]string{
		"etcdctl", "--endpoints", "https://" + net.JoinHostPort(n.IP().String(), "2379"),
		"--cacert", in("ca.crt"), "--cert", in("healthcheck-client.crt"), "--key", in("healthcheck-client.key"),
		"--command-timeout", "20s", command,
	}, " "))
}

// Etcd asks the member of a node who the members are.
func (c *Cluster) Etcd(ctx context.Context, name string) (Etcd, error) {
	out, err := c.etcdctl(ctx, name, "member list --write-out json")
	if err != nil {
		return Etcd{}, err
	}
	var list struct {
		Header struct {
			ClusterID uint64 `json:"cluster_id"`
		} `json:"header"`
		Members []struct {
			Name      string `json:"name"`
			IsLearner bool   `json:"isLearner"`
		} `json:"members"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return Etcd{}, fmt.Errorf("reading the members of etcd: %w", err)
	}
	e := Etcd{ID: list.Header.ClusterID}
	for _, m := range list.Members {
		if m.IsLearner {
			e.Learners = append(e.Learners, m.Name)
		} else {
			e.Voters = append(e.Voters, m.Name)
		}
	}
	return e, nil
}

// MemberID is the identifier of a node's member, which it has as long as it
// keeps its data.
func (c *Cluster) MemberID(ctx context.Context, name string) (uint64, error) {
	out, err := c.etcdctl(ctx, name, "endpoint status --write-out json")
	if err != nil {
		return 0, err
	}
	var status []struct {
		Status struct {
			Header struct {
				MemberID uint64 `json:"member_id"`
			} `json:"header"`
		} `json:"Status"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status) != 1 {
		return 0, fmt.Errorf("reading the status of etcd: %q (%w)", out, err)
	}
	return status[0].Status.Header.MemberID, nil
}

// CheckEtcd sees that every control plane is a voting member of the cluster with
// the ID, that there is no other member, and that all are healthy. It returns
// the ID, which is not compared if it is 0.
func (c *Cluster) CheckEtcd(ctx context.Context, id uint64) (uint64, error) {
	names := c.ControlPlanes()
	for _, name := range names {
		e, err := c.Etcd(ctx, name)
		if err != nil {
			return 0, err
		}
		if id == 0 {
			id = e.ID
		}
		if e.ID != id {
			return 0, fmt.Errorf("the etcd of %s is the cluster %x, want %x", name, e.ID, id)
		}
		if !sameSet(e.Voters, names) || len(e.Learners) > 0 {
			return 0, fmt.Errorf("%s says that the members are %q and the learners %q, want %q", name, e.Voters, e.Learners, names)
		}
	}
	out, err := c.etcdctl(ctx, names[0], "endpoint health --cluster --write-out json")
	if err != nil {
		return 0, err
	}
	var health []struct {
		Endpoint string `json:"endpoint"`
		Health   bool   `json:"health"`
		Error    string `json:"error"`
	}
	if err := json.Unmarshal([]byte(out), &health); err != nil {
		return 0, fmt.Errorf("reading the health of etcd: %w", err)
	}
	var sick []error
	for _, h := range health {
		if !h.Health {
			sick = append(sick, fmt.Errorf("the member at %s is not healthy: %s", h.Endpoint, h.Error))
		}
	}
	if len(health) != len(names) {
		sick = append(sick, fmt.Errorf("%d members say how they are, want %d", len(health), len(names)))
	}
	return id, errors.Join(sick...)
}

func sameSet(a, b []string) bool {
	seen := map[string]int{}
	for _, s := range a {
		seen[s]++
	}
	for _, s := range b {
		seen[s]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return true
}
