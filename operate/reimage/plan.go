package reimage

import (
	"errors"
	"fmt"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// Transaction is how the provisioning server remembers that a reimage is under way.
const Transaction = "reimage"

// Options say how a node is installed. Zero values are the defaults.
type Options struct {
	// Image is the ID of the image: the one that is active.
	Image string
	// KeepEtcd keeps the data of etcd, and the member with it.
	KeepEtcd bool
	// Window is how long the window is open: 45 minutes.
	Window time.Duration
}

// A Step is what is done after the node was taken out of the cluster.
type Step string

// The steps, in their order.
const (
	Open      Step = "open window"
	Power     Step = "start from the network"
	Install   Step = "install"
	Bootstrap Step = "bootstrap"
	Verify    Step = "verify"
	Close     Step = "close window"
)

// A Plan is one transaction, or what is left of it.
type Plan struct {
	Node    string
	Options Options
	// Remove takes the node out of the cluster; it comes first.
	Remove operate.Plan
	Steps  []Step
	// Resumes says that an earlier one is gone on with.
	Resumes bool
	// Etcd says that the node has a member of etcd.
	Etcd bool
}

// Lines say the plan for people.
func (p Plan) Lines() []string {
	var lines []string
	for _, s := range p.Remove.Steps {
		lines = append(lines, s.Text)
	}
	for _, s := range p.Steps {
		lines = append(lines, p.Text(s))
	}
	return lines
}

// Text says a step for people.
func (p Plan) Text(s Step) string {
	switch s {
	case Open:
		text := fmt.Sprintf("open an install window of %s, with ", p.Options.window())
		if p.Options.Image == "" {
			text += "the active image"
		} else {
			text += "image " + p.Options.Image
		}
		if p.Options.KeepEtcd {
			text += ", keeping the data of etcd"
		}
		return text
	case Power:
		return "start its machine from the network"
	case Install:
		return "wait until the image is on its disk"
	case Bootstrap:
		return "wait until it has joined"
	case Verify:
		if p.Etcd {
			return "see that it is Ready, and its member of etcd healthy"
		}
		return "see that it is Ready"
	case Close:
		return "close the window"
	}
	return string(s)
}

func (o Options) window() time.Duration {
	if o.Window <= 0 {
		return 45 * time.Minute
	}
	return o.Window
}

// Errors that a caller may want to tell apart.
var (
	// ErrUnderWay is wrapped when something else is done with the node.
	ErrUnderWay = errors.New("an install is under way")
	// ErrHeld is wrapped when the node is held.
	ErrHeld = errors.New("it is held")
)

// NewPlan plans to install a node again, or to go on with that. Server is what the
// provisioning server says of it.
func NewPlan(c cluster.Cluster, facts operate.Facts, server admin.Node, opts Options) (Plan, error) {
	p, err := newPlan(c, facts, server, opts)
	if err != nil {
		return Plan{}, fmt.Errorf("planning to reimage %s: %w", server.Name, err)
	}
	return p, nil
}

func newPlan(c cluster.Cluster, facts operate.Facts, server admin.Node, opts Options) (Plan, error) {
	n, ok := c.Node(server.Name)
	if !ok {
		return Plan{}, errors.New("the cluster document has no such node")
	}
	p := Plan{Node: server.Name, Options: opts, Etcd: n.Role == cluster.ControlPlane}
	if opts.KeepEtcd && !p.Etcd {
		return Plan{}, errors.New("a worker has no etcd to keep")
	}
	ours := server.Transaction == Transaction
	if server.Held {
		return Plan{}, fmt.Errorf("%w: %s; let it go on with k8snode release %s, or close its window with k8snode disarm %s", ErrHeld, server.HeldFor, server.Name, server.Name)
	}
	if ours && differs(server, opts) {
		return Plan{}, fmt.Errorf("%w, with %s; ask for the same, or close its window with k8snode disarm %s", ErrUnderWay, describe(server), server.Name)
	}
	switch at := server.Phase; {
	case at == api.PhaseReady && ours:
		p.Steps = []Step{Verify, Close}
	case under(at) && ours && (server.Open || at == api.PhaseConfiguring || at == api.PhaseBootstrapping):
		p.Steps = []Step{Install, Bootstrap, Verify, Close}
	case at == api.PhaseArmed && ours && server.Open:
		// Its machine may run the old system still, and may have registered again.
		p.Steps = []Step{Power, Install, Bootstrap, Verify, Close}
	case under(at) && server.Open:
		return Plan{}, fmt.Errorf("%w (%s) that somebody began; wait for it, or close its window with k8snode disarm %s", ErrUnderWay, at, server.Name)
	default:
		p.Steps = []Step{Open, Power, Install, Bootstrap, Verify, Close}
	}
	p.Resumes = p.Steps[0] != Open
	if p.Steps[0] != Open && p.Steps[0] != Power {
		return p, nil // It is on its way into the cluster, not out of it.
	}
	remove, err := operate.PlanRemove(c, facts, p.Node, operate.RemoveOptions{KeepEtcd: opts.KeepEtcd})
	if err != nil {
		return Plan{}, err
	}
	p.Remove = remove
	return p, nil
}

// under reports whether a machine is on its way from an empty disk to a node.
func under(p api.Phase) bool {
	switch p {
	case api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping:
		return true
	}
	return false
}

// differs reports whether the transaction that is under way is another one.
func differs(server admin.Node, opts Options) bool {
	return opts.KeepEtcd != server.KeepEtcd || opts.Image != "" && opts.Image != server.Image
}

func describe(server admin.Node) string {
	text := "image " + server.Image
	if server.KeepEtcd {
		text += ", keeping the data of etcd"
	}
	return text
}
