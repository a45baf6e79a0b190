package etcdguard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/node"
)

// Values of ETCD_INITIAL_CLUSTER_STATE.
const (
	StateNew      = "new"
	StateExisting = "existing"
)

// Facts are what the guard found on the machine.
type Facts struct {
	// Mounted says that the data folder is a mount point.
	Mounted bool
	// Log says that a write-ahead log exists.
	Log bool
	Now time.Time
}

// A Decision is what etcd is told.
type Decision struct {
	State string
	// Members maps names to peer URLs.
	Members map[string]string
}

// Decide returns how the member may start, or why it may not.
func Decide(cfg node.Config, facts Facts) (Decision, error) {
	if cfg.Etcd == nil {
		return Decision{}, fmt.Errorf("node %q has no etcd member (role %s)", cfg.Name, cfg.Role)
	}
	own, listed := cfg.Etcd.Members[cfg.Name]
	if !listed || own != cfg.Etcd.PeerURL {
		return Decision{}, fmt.Errorf("the members do not list %q with the peer URL %q", cfg.Name, cfg.Etcd.PeerURL)
	}
	if !facts.Mounted {
		return Decision{}, errors.New("the data folder is not a mount point: its partition did not mount, " +
			"and an empty folder in its place would make this member forget its data")
	}
	if facts.Log {
		return Decision{State: StateExisting, Members: cfg.Etcd.Members}, nil
	}
	until := cfg.Etcd.GenesisUntil
	switch {
	case until == nil:
		return Decision{}, errors.New("this member has no data and may not start a new cluster: " +
			"joining an existing etcd cluster is not supported yet; restore its data partition, " +
			"or reimage the cluster's first control plane with a new genesis window")
	case len(cfg.Etcd.Members) != 1:
		return Decision{}, fmt.Errorf("this member has no data, and the cluster has %d members: "+
			"starting more than one is not supported yet", len(cfg.Etcd.Members))
	case !facts.Now.Before(*until):
		return Decision{}, fmt.Errorf("this member has no data, and the time to start a new cluster ended at %s (it is %s): "+
			"if the cluster shall begin anew, reimage this node in a new install window; otherwise restore a snapshot",
			until.UTC().Format(time.RFC3339), facts.Now.UTC().Format(time.RFC3339))
	}
	return Decision{State: StateNew, Members: map[string]string{cfg.Name: own}}, nil
}

// Env is the decision in the form of systemd's EnvironmentFile.
func (d Decision) Env() []byte {
	var members []string
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		members = append(members, name+"="+d.Members[name])
	}
	return fmt.Appendf(nil, "ETCD_INITIAL_CLUSTER=%s\nETCD_INITIAL_CLUSTER_STATE=%s\n",
		strings.Join(members, ","), d.State)
}
