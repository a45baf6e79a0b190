package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// ErrRefused is wrapped by every [RefusedError].
var ErrRefused = errors.New("refused")

// ErrWindow is wrapped by the error of an Arm whose end cannot be.
var ErrWindow = errors.New("impossible install window")

// RefusedError says why a request for a node was refused. By then the refusal
// is recorded in the node.
type RefusedError struct {
	Node   string
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused for node %q: %s", e.Node, e.Reason)
}

// Unwrap makes every RefusedError an [ErrRefused].
func (e *RefusedError) Unwrap() error { return ErrRefused }

// GateOptions are the limits of a Gate.
type GateOptions struct {
	// Now and Rand are required: the clock, and a source of secret bytes.
	Now  func() time.Time
	Rand io.Reader
	// MaxPlans is how many plans a machine may fetch in one window before it
	// is held, 3 by default.
	MaxPlans int
	// ReplayWindow is how long after the first complete delivery the same
	// address may fetch the same bytes again, 10 minutes by default.
	ReplayWindow time.Duration
	// MaxWindow bounds an install window, 24 hours by default.
	MaxWindow time.Duration
	// ReportLife is how long after its config was rendered a node may report,
	// 24 hours by default.
	ReportLife time.Duration
}

// A Gate decides who is given what. It is safe for concurrent use as far as
// its Store and Rand are.
type Gate struct {
	store Store
	opts  GateOptions
}

// NewGate returns the rules over the nodes of s.
func NewGate(s Store, opts GateOptions) (*Gate, error) {
	if s == nil || opts.Now == nil || opts.Rand == nil {
		return nil, errors.New("making a gate: it needs a store, a clock and a source of randomness")
	}
	if opts.MaxPlans <= 0 {
		opts.MaxPlans = 3
	}
	if opts.ReplayWindow <= 0 {
		opts.ReplayWindow = 10 * time.Minute
	}
	if opts.MaxWindow <= 0 {
		opts.MaxWindow = 24 * time.Hour
	}
	if opts.ReportLife <= 0 {
		opts.ReportLife = 24 * time.Hour
	}
	return &Gate{store: s, opts: opts}, nil
}

// ArmOptions say what a window is opened for.
type ArmOptions struct {
	// Image is the ID of what is installed, Until the end of the window; both are
	// required.
	Image string
	Until time.Time
	// KeepEtcd leaves the data of etcd on the disk as it is.
	KeepEtcd bool
	// Transaction names what the install is a part of, for whoever takes it up again.
	Transaction string
}

// Arm opens a window in which node is installed with an image. It begins a new
// install: whatever was minted or delivered for an earlier one is worth nothing
// from now on.
func (g *Gate) Arm(ctx context.Context, node string, opts ArmOptions) (Node, error) {
	now, until := g.opts.Now(), opts.Until
	if !until.After(now) {
		return Node{}, fmt.Errorf("%w: it ends before it begins", ErrWindow)
	}
	if until.Sub(now) > g.opts.MaxWindow {
		return Node{}, fmt.Errorf("%w: it is longer than %s", ErrWindow, g.opts.MaxWindow)
	}
	var id [16]byte
	if _, err := io.ReadFull(g.opts.Rand, id[:]); err != nil {
		return Node{}, fmt.Errorf("reading randomness for an install ID: %w", err)
	}
	n, err := g.store.Update(ctx, node, func(n *Node) error {
		*n = Node{
			Name:    n.Name,
			Phase:   api.PhaseArmed,
			Reached: api.PhaseArmed,
			Window: Window{
				InstallID: hex.EncodeToString(id[:]), Image: opts.Image, Opened: now, Until: until,
				KeepEtcd: opts.KeepEtcd, Transaction: opts.Transaction,
			},
			Refused:     n.Refused,
			LastRefusal: n.LastRefusal,
		}
		return nil
	})
	if err != nil {
		return Node{}, fmt.Errorf("arming node %q: %w", node, err)
	}
	return n, nil
}

// Disarm closes the window of node. What the machine proved stays, and a node
// that has its config may go on reporting.
func (g *Gate) Disarm(ctx context.Context, node string) (Node, error) {
	now := g.opts.Now()
	n, err := g.store.Update(ctx, node, func(n *Node) error {
		if n.Open(now) {
			n.Window.Until = now
		}
		n.Install, n.Config = Credential{}, Credential{}
		n.Window.Transaction = ""
		if rank(n.Reached) < rank(api.PhaseConfiguring) {
			n.Phase, n.Reached = api.PhaseRegistered, api.PhaseRegistered
			n.Report = Credential{}
			n.Window.InstallID = ""
		}
		return nil
	})
	if err != nil {
		return Node{}, fmt.Errorf("disarming node %q: %w", node, err)
	}
	return n, nil
}

// Hold keeps a node from installing while its window stays open. An install
// that fetched its plan goes on: half an image is on its disk.
func (g *Gate) Hold(ctx context.Context, node, why string) (Node, error) {
	return g.hold(ctx, "holding", node, func(w *Window) { w.Held, w.Why = true, why })
}

// Release lets a held node install again, as often as in a new window.
func (g *Gate) Release(ctx context.Context, node string) (Node, error) {
	return g.hold(ctx, "releasing", node, func(w *Window) { w.Held, w.Why, w.Forgiven = false, "", w.Plans })
}

func (g *Gate) hold(ctx context.Context, doing, node string, change func(*Window)) (Node, error) {
	now := g.opts.Now()
	n, err := g.store.Update(ctx, node, func(n *Node) error {
		if !n.Open(now) {
			return fmt.Errorf("%w: none is open", ErrWindow)
		}
		change(&n.Window)
		return nil
	})
	if err != nil {
		return Node{}, fmt.Errorf("%s node %q: %w", doing, node, err)
	}
	return n, nil
}

// Seed mints an install token for node and revokes the one before. The machine
// names itself by what identifies it, separated by spaces; the first that
// fetches a plan is the one that this install is for.
func (g *Gate) Seed(ctx context.Context, node, machine string, from netip.Addr) (string, error) {
	token, err := newToken(g.opts.Rand, node)
	if err != nil {
		return "", err
	}
	_, err = g.change(ctx, node, from, func(n *Node, now time.Time) (reason string) {
		if ok, reason := n.Installable(now); !ok {
			return reason
		}
		if n.Window.Plans > 0 && !same(n.Window.Machine, machine) {
			return "another machine has begun this install: " + n.Window.Machine
		}
		n.Window.Machine = machine
		n.Install = credential(token, n.Window.InstallID, n.Window.Until)
		return ""
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// ErrClosed is wrapped by the error of an Issue for a node that is not to be
// installed now.
var ErrClosed = errors.New("nothing is to be installed")

// Issue mints an install token that an operator carries to the machine, and revokes
// the one before. It ends with the window.
func (g *Gate) Issue(ctx context.Context, node string) (token string, until time.Time, err error) {
	if token, err = newToken(g.opts.Rand, node); err != nil {
		return "", time.Time{}, err
	}
	now := g.opts.Now()
	n, err := g.store.Update(ctx, node, func(n *Node) error {
		if ok, reason := n.Installable(now); !ok {
			return fmt.Errorf("%w: %s", ErrClosed, reason)
		}
		n.Install = credential(token, n.Window.InstallID, n.Window.Until)
		return nil
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issuing a seed of node %q: %w", node, err)
	}
	return token, n.Window.Until, nil
}

// same reports whether two machines share what identifies them. Of a machine
// that named nothing nothing can be told.
func same(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	ids := strings.Fields(b)
	return slices.ContainsFunc(strings.Fields(a), func(id string) bool { return slices.Contains(ids, id) })
}

// Plan exchanges an install token for a config token. The fetch of a plan is
// the evidence that an install runs, so it is also what is counted.
func (g *Gate) Plan(ctx context.Context, token string, from netip.Addr) (node Node, config string, err error) {
	name, err := g.tokenNode(token)
	if err != nil {
		return Node{}, "", err
	}
	config, err = newToken(g.opts.Rand, name)
	if err != nil {
		return Node{}, "", err
	}
	node, err = g.change(ctx, name, from, func(n *Node, now time.Time) string {
		if !n.Install.valid(token, n.Window.InstallID, now) {
			return "the install token is not valid"
		}
		if ok, reason := n.Installable(now); !ok {
			return reason
		}
		if n.Window.Plans-n.Window.Forgiven >= g.opts.MaxPlans {
			n.Window.Held, n.Window.Why = true, "too many installs in one window"
			return "held: " + n.Window.Why
		}
		n.Window.Plans++
		n.advance(api.PhaseInstalling)
		n.Config = credential(config, n.Window.InstallID, n.Window.Until)
		return ""
	})
	if err != nil {
		return Node{}, "", err
	}
	return node, config, nil
}

// tokenNode is [TokenNode] for a token that must be one.
func (g *Gate) tokenNode(token string) (string, error) {
	name, ok := TokenNode(token)
	if !ok {
		return "", &RefusedError{Reason: "not a token"}
	}
	return name, nil
}

// Refuse records a refusal that the caller decided, and returns it.
func (g *Gate) Refuse(ctx context.Context, node string, from netip.Addr, reason string) error {
	_, err := g.change(ctx, node, from, func(*Node, time.Time) string { return reason })
	return err
}

// change runs one rule. A rule that returns a reason refuses: the refusal is
// recorded together with what the rule changed, and becomes the error.
func (g *Gate) change(ctx context.Context, node string, from netip.Addr, rule func(n *Node, now time.Time) (reason string)) (Node, error) {
	now := g.opts.Now()
	var reason string
	n, err := g.store.Update(ctx, node, func(n *Node) error {
		if reason = rule(n, now); reason != "" {
			n.Refused++
			n.LastRefusal = Refusal{Time: now, Address: from, Reason: reason}
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrUnknownNode):
		return Node{}, &RefusedError{Node: node, Reason: "unknown node"}
	case err != nil:
		return Node{}, fmt.Errorf("updating node %q: %w", node, err)
	case reason != "":
		return Node{}, &RefusedError{Node: node, Reason: reason}
	}
	return n, nil
}
