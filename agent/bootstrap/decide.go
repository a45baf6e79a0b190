package bootstrap

import (
	"fmt"

	"github.com/k8snode/k8snode/agent/node"
)

// An Action is what a start of the bootstrap does.
type Action string

// The actions. Init and Join include what Finish does.
const (
	// ActionNone: the node is done.
	ActionNone Action = "none"
	// ActionInit: run kubeadm init.
	ActionInit Action = "init"
	// ActionJoin: run kubeadm join.
	ActionJoin Action = "join"
	// ActionFinish: kubeadm has succeeded; do the steps after it.
	ActionFinish Action = "finish"
)

// Facts are what was found on the machine and in etcd.
type Facts struct {
	// Done says that node.Done exists.
	Done bool
	// Record is what an earlier attempt wrote; nil when there was none.
	Record *Record
	// Initialised says that a control plane has completed kubeadm init; etcd
	// knows. Workers do not ask.
	Initialised bool
}

// A Record remembers an attempt to run kubeadm.
type Record struct {
	// ClusterID is that of the node's file at the time.
	ClusterID string `json:"clusterID"`
	// Action is init or join.
	Action Action `json:"action"`
	// Succeeded says that kubeadm has exited with 0.
	Succeeded bool `json:"succeeded"`
}

// NeedsEtcd reports whether [Decide] looks at Facts.Initialised.
func NeedsEtcd(cfg node.Config, facts Facts) bool {
	return cfg.Role == node.ControlPlane && !facts.Done && (facts.Record == nil || !facts.Record.Succeeded)
}

// Decide returns what to do next, or why nothing can be done. A control plane
// that is told to run init holds the lock of it.
func Decide(cfg node.Config, facts Facts) (Action, error) {
	record := facts.Record
	if record != nil && record.ClusterID != cfg.ClusterID {
		return "", fmt.Errorf("this machine began to %s the cluster %s, but its configuration says %s: reimage it",
			record.Action, record.ClusterID, cfg.ClusterID)
	}
	switch {
	case facts.Done:
		return ActionNone, nil
	case record != nil && record.Succeeded:
		return ActionFinish, nil
	case cfg.Role == node.Worker:
		return ActionJoin, nil
	case cfg.Role != node.ControlPlane:
		return "", fmt.Errorf("role %q is unknown", cfg.Role)
	case facts.Initialised:
		return ActionJoin, nil
	default:
		// Nobody has used the cluster yet: what another init has left, this
		// one writes again.
		return ActionInit, nil
	}
}
