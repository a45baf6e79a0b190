package reimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/power"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// A Server is the provisioning server.
type Server interface {
	Nodes(ctx context.Context) ([]admin.Node, error)
	Arm(ctx context.Context, node string, opts admin.ArmOptions) (admin.Node, error)
	Disarm(ctx context.Context, node string) (admin.Node, error)
}

// A Cluster is the one that the node belongs to.
type Cluster interface {
	Look(ctx context.Context) operate.Facts
	Remove(ctx context.Context, p operate.Plan) error
}

// Limits are how long the parts of a transaction may take. Zero values are the
// defaults.
type Limits struct {
	// Install is from power on to the image on the disk: 30 minutes.
	Install time.Duration
	// Bootstrap is from there to a node that is ready: 30 minutes.
	Bootstrap time.Duration
	// Verify is until the cluster says so too: 10 minutes.
	Verify time.Duration
	// Failed is how long a node may say that it has failed: its bootstrap tries
	// again, its installer does not. 3 minutes.
	Failed time.Duration
	// Away is how long the server may be: 5 minutes.
	Away time.Duration
}

// A Runner does what plans say. Server and Cluster are required.
type Runner struct {
	Server  Server
	Cluster Cluster
	// Power is the machine's controller; nil waits until somebody starts the machine.
	Power power.Controller
	Cycle power.CycleOptions

	Limits Limits
	// Pause is the time between two looks: 2 seconds.
	Pause time.Duration
	// Begin is called before a step, with what it does, and Say with what is heard
	// meanwhile; nil does nothing.
	Begin, Say func(text string)
}

func (r Runner) withDefaults() Runner {
	r.Limits.Install = cmp.Or(r.Limits.Install, 30*time.Minute)
	r.Limits.Bootstrap = cmp.Or(r.Limits.Bootstrap, 30*time.Minute)
	r.Limits.Verify = cmp.Or(r.Limits.Verify, 10*time.Minute)
	r.Limits.Failed = cmp.Or(r.Limits.Failed, 3*time.Minute)
	r.Limits.Away = cmp.Or(r.Limits.Away, 5*time.Minute)
	r.Pause = cmp.Or(r.Pause, 2*time.Second)
	if r.Begin == nil {
		r.Begin = func(string) {}
	}
	if r.Say == nil {
		r.Say = func(string) {}
	}
	return r
}

// Run does what the plan says, and stops at the first step that fails.
func (r Runner) Run(ctx context.Context, p Plan) error {
	r = r.withDefaults()
	if len(p.Steps) > 0 && p.Steps[0] == Open {
		// What the server refuses, it refuses before the node is out of the cluster.
		check := p.window()
		check.Check = true
		if _, err := r.Server.Arm(ctx, p.Node, check); err != nil {
			return fmt.Errorf("reimaging %s: %w", p.Node, err)
		}
	}
	if len(p.Remove.Steps) > 0 {
		if err := r.Cluster.Remove(ctx, p.Remove); err != nil {
			return fmt.Errorf("reimaging %s: %w", p.Node, err)
		}
	}
	for _, step := range p.Steps {
		r.Begin(p.Text(step))
		if err := r.step(ctx, p, step); err != nil {
			return fmt.Errorf("reimaging %s: %w", p.Node, err)
		}
	}
	return nil
}

// window is what the server is asked for.
func (p Plan) window() admin.ArmOptions {
	return admin.ArmOptions{
		For: p.Options.window(), Image: p.Options.Image, KeepEtcd: p.Options.KeepEtcd, Transaction: Transaction,
	}
}

func (r Runner) step(ctx context.Context, p Plan, step Step) error {
	switch step {
	case Open:
		_, err := r.Server.Arm(ctx, p.Node, p.window())
		return err
	case Power:
		if r.Power == nil {
			r.Say("start the machine of " + p.Node + " from the network, now")
			return nil
		}
		return power.Cycle(ctx, r.Power, r.Cycle)
	case Install:
		return r.follow(ctx, p.Node, r.Limits.Install, "installing it", func(n admin.Node) bool {
			return n.Phase != api.PhaseArmed && n.Phase != api.PhaseInstalling
		})
	case Bootstrap:
		return r.follow(ctx, p.Node, r.Limits.Bootstrap, "waiting for it to join", func(n admin.Node) bool { return n.Phase == api.PhaseReady })
	case Verify:
		return r.verify(ctx, p)
	case Close:
		_, err := r.Server.Disarm(ctx, p.Node)
		return err
	}
	return fmt.Errorf("internal error: no step %q", step)
}

// errLate is why a wait ends.
var errLate = errors.New("it takes too long")

// follow waits until a machine is there, as it reports itself.
func (r Runner) follow(ctx context.Context, name string, limit time.Duration, what string, there func(admin.Node) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	var said string
	var failed, away time.Duration
	for {
		n, err := r.node(ctx, name)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w (%s); its last word: %s", what, context.Cause(ctx), limit, cmp.Or(said, "none"))
		case err != nil:
			if away += r.Pause; away > r.Limits.Away {
				return fmt.Errorf("%s: the server has been away for %s: %w", what, r.Limits.Away, err)
			}
			r.Say(err.Error())
		default:
			away = 0
			if now := word(n); now != said {
				said = now
				r.Say(name + " " + now)
			}
			if n.Phase == api.PhaseFailed {
				failed += r.Pause
			} else {
				failed = 0
			}
			if err := stopped(n); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if failed > r.Limits.Failed {
				return fmt.Errorf("%s: it has failed: %s", what, n.Message)
			}
			if n.Phase != api.PhaseFailed && there(n) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.Pause):
		}
	}
}

// stopped says why nothing more will come of a machine by itself.
func stopped(n admin.Node) error {
	switch {
	case n.Held:
		return fmt.Errorf("%w: %s", ErrHeld, n.HeldFor)
	case n.Transaction != Transaction:
		return errors.New("somebody else has closed its window, or opened another one")
	case !n.Open && (n.Phase == api.PhaseRegistered || n.Phase == api.PhaseArmed || n.Phase == api.PhaseInstalling || n.Phase == api.PhaseInstalled):
		return errors.New("its window has ended; a longer one is opened with --for")
	}
	return nil
}

// word is what a machine says of itself, but for the bytes that it counts.
func word(n admin.Node) string {
	text := string(n.Phase)
	if n.Step != "" {
		text += " " + n.Step
	}
	if n.Message != "" {
		text += ": " + n.Message
	}
	return text
}

func (r Runner) node(ctx context.Context, name string) (admin.Node, error) {
	nodes, err := r.Server.Nodes(ctx)
	if err != nil {
		return admin.Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n admin.Node) bool { return n.Name == name })
	if i < 0 {
		return admin.Node{}, errors.New("the server does not know the node")
	}
	return nodes[i], nil
}

// verify waits until the cluster says that the node is well.
func (r Runner) verify(ctx context.Context, p Plan) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Limits.Verify, errLate)
	defer cancel()
	said := ""
	for {
		why := unwell(r.Cluster.Look(ctx), p)
		if why == "" {
			return nil
		}
		if why != said && ctx.Err() == nil {
			said = why
			r.Say(why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the cluster to take it: %w (%s): %s", context.Cause(ctx), r.Limits.Verify, said)
		case <-time.After(r.Pause):
		}
	}
}

// unwell says what a cluster lacks of a node; empty when nothing.
func unwell(f operate.Facts, p Plan) string {
	i := slices.IndexFunc(f.Nodes, func(n operate.Node) bool { return n.Name == p.Node })
	switch {
	case f.Version == "":
		return "no API server answers"
	case i < 0:
		return "the cluster has no Node " + p.Node
	case !f.Nodes[i].Ready:
		return p.Node + " is not Ready: " + f.Nodes[i].Reason
	}
	if !p.Etcd {
		return ""
	}
	j := slices.IndexFunc(f.Members, func(m operate.Member) bool { return m.Name == p.Node })
	switch {
	case j < 0:
		return "etcd has no member " + p.Node
	case f.Members[j].Learner:
		return "etcd's member " + p.Node + " is a learner still"
	case !f.Members[j].Healthy:
		return "etcd's member " + p.Node + " does not answer"
	}
	return ""
}
