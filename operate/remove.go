package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
)

// A Step is one change of a cluster.
type Step struct {
	Action Action
	// Node that is drained or deleted.
	Node string
	// Member that is removed, or that the leader moves to.
	Member Member
	// Text says it for people.
	Text string
}

// An Action is a kind of step.
type Action string

// The actions, in their order.
const (
	Drain        Action = "drain"
	MoveLeader   Action = "move leader"
	RemoveMember Action = "remove member"
	DeleteNode   Action = "delete node"
)

// A Plan is what takes a node out of a cluster.
type Plan struct {
	Node  string
	Steps []Step
}

// ErrQuorum is wrapped by the error of a plan that would cost etcd its quorum.
var ErrQuorum = errors.New("etcd would lose its quorum")

// RemoveOptions of [PlanRemove].
type RemoveOptions struct {
	// KeepEtcd leaves the node's member of etcd where it is: the data stays on its
	// disk, and the member comes back with it.
	KeepEtcd bool
}

// PlanRemove plans to take a node out of the cluster, so that its machine can be
// switched off, or installed again. The node need not be there any more, and
// nothing of it may be left: then the plan is empty.
func PlanRemove(c cluster.Cluster, facts Facts, name string, opts RemoveOptions) (Plan, error) {
	p := Plan{Node: name}
	_, documented := c.Node(name)
	registered := slices.ContainsFunc(facts.Nodes, func(n Node) bool { return n.Name == name })
	member, isMember := memberOf(facts.Members, name)
	events, hasEvents := memberOf(facts.Events, name)
	if !documented && !registered && !isMember && !hasEvents {
		return Plan{}, fmt.Errorf("planning to remove %s: there is no such node, neither in the document nor in the cluster", name)
	}
	if facts.Version == "" {
		return Plan{}, fmt.Errorf("planning to remove %s: no API server answers (%s)", name, facts.silences())
	}
	if registered {
		p.add(Step{Action: Drain, Node: name, Text: "move its pods to other nodes"})
	}
	if len(facts.Members) == 0 {
		return Plan{}, fmt.Errorf("planning to remove %s: no member of etcd answers (%s)", name, facts.silences())
	}
	if opts.KeepEtcd && !isMember {
		return Plan{}, fmt.Errorf("planning to remove %s: it has no member of etcd to keep", name)
	}
	if isMember {
		if err := p.leave(facts, facts.Members, member, opts); err != nil {
			return Plan{}, fmt.Errorf("planning to remove %s: %w", name, err)
		}
	}
	if hasEvents {
		if err := p.leave(facts, facts.Events, events, opts); err != nil {
			return Plan{}, fmt.Errorf("planning to remove %s: %w", name, err)
		}
	}
	if registered {
		p.add(Step{Action: DeleteNode, Node: name, Text: "delete the Node object"})
	}
	return p, nil
}

func (p *Plan) add(s Step) { p.Steps = append(p.Steps, s) }

// leave takes a member out of etcd, if the others do without it.
func (p *Plan) leave(facts Facts, members []Member, member Member, opts RemoveOptions) error {
	etcd := etcdName(member.Instance)
	var stay []Member
	voters := 0
	for _, m := range members {
		if m.ID == member.ID || m.Learner {
			continue
		}
		voters++
		if m.Healthy {
			stay = append(stay, m)
		}
	}
	if voters == 0 && opts.KeepEtcd {
		return nil // The cluster stands still until it is back; nobody else is there to ask.
	}
	if !member.Learner && voters == 0 {
		return fmt.Errorf("%w: %s is its only member, whose data can be kept: k8snode reimage --keep-etcd", ErrQuorum, member.Name)
	}
	of := voters
	if opts.KeepEtcd && !member.Learner {
		of++ // It is counted while it is away.
	}
	if need := of/2 + 1; len(stay) < need {
		return fmt.Errorf("%w: of the %d other members %d answer, and %d must (%s)", ErrQuorum, voters, len(stay), need, facts.silences())
	}
	if member.Leader {
		to := stay[0]
		p.add(Step{Action: MoveLeader, Member: to, Text: handOver(member.Instance, to.Name)})
	}
	if opts.KeepEtcd {
		return nil
	}
	p.add(Step{Action: RemoveMember, Member: member, Text: fmt.Sprintf("remove member %x from %s", member.ID, etcd)})
	return nil
}

func handOver(i node.Instance, to string) string {
	if i == node.Events {
		return "have the leader of the etcd of events hand over to " + to
	}
	return "have etcd's leader hand over to " + to
}

// RunOptions of [Plan.Run].
type RunOptions struct {
	// DrainTimeout is how long pods may take to leave.
	DrainTimeout time.Duration
	// Progress gets what draining says; nil discards it.
	Progress io.Writer
	// Done is called after each step; nil does nothing.
	Done func(Step)
}

// Run performs the steps. It stops at the first that fails; a plan that is made
// anew begins there.
func (p Plan) Run(ctx context.Context, live *Live, opts RunOptions) error {
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	for _, step := range p.Steps {
		if err := live.perform(ctx, step, opts); err != nil {
			return fmt.Errorf("removing %s: %w", p.Node, err)
		}
		if opts.Done != nil {
			opts.Done(step)
		}
	}
	return nil
}
