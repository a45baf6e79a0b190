package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// ErrBackward is wrapped by the error of a report of a phase that the machine
// has left behind.
var ErrBackward = errors.New("a phase only moves forward")

// A Claim is the right to one node's config.
type Claim struct {
	Node      string
	InstallID string
	// Image is the ID of what the node was installed with.
	Image string
	// SHA256 and Completed are of an earlier delivery to the same reader:
	// whoever holds those bytes still must send exactly them. Once Completed
	// is set, no others may be sent.
	SHA256    string
	Completed bool
	// Until is when the claim ends, unless something ends it before.
	Until time.Time
}

// Claim takes the one right to read a node's config, or renews it for the
// address that has it.
func (g *Gate) Claim(ctx context.Context, token string, from netip.Addr) (Claim, error) {
	name, err := g.tokenNode(token)
	if err != nil {
		return Claim{}, err
	}
	n, err := g.change(ctx, name, from, func(n *Node, now time.Time) string {
		d := &n.Delivery
		switch {
		case !n.Config.valid(token, n.Window.InstallID, now):
			return "the config token is not valid"
		case !n.Open(now):
			return "the install window has ended"
		case rank(n.Reached) < rank(api.PhaseInstalling):
			return "no plan of this install was fetched"
		case d.Burned:
			return "the node has booted with its config"
		case !d.Claimed.IsZero() && d.Address != from:
			return fmt.Sprintf("the config was fetched by %s before", d.Address)
		case !d.Completed.IsZero() && !now.Before(d.Completed.Add(g.opts.ReplayWindow)):
			return "the config was delivered, and the time to repeat it is over"
		}
		if d.Claimed.IsZero() {
			d.Address, d.Claimed = from, now
		}
		return ""
	})
	if err != nil {
		return Claim{}, err
	}
	return Claim{
		Node:      n.Name,
		InstallID: n.Window.InstallID,
		Image:     n.Window.Image,
		SHA256:    n.Delivery.SHA256,
		Completed: !n.Delivery.Completed.IsZero(),
		Until:     g.claimEnd(n),
	}, nil
}

// claimEnd is the end of the window, or of the replay window if that is
// earlier.
func (g *Gate) claimEnd(n Node) time.Time {
	if n.Delivery.Completed.IsZero() {
		return n.Window.Until
	}
	if end := n.Delivery.Completed.Add(g.opts.ReplayWindow); end.Before(n.Window.Until) {
		return end
	}
	return n.Window.Until
}

// MintReport mints the report token that the config of a claim will hold, and
// revokes the one before. A config that was delivered keeps its token.
func (g *Gate) MintReport(ctx context.Context, c Claim) (string, error) {
	token, err := newToken(g.opts.Rand, c.Node)
	if err != nil {
		return "", err
	}
	now := g.opts.Now()
	_, err = g.store.Update(ctx, c.Node, func(n *Node) error {
		if err := c.current(*n); err != nil {
			return err
		}
		if !n.Delivery.Completed.IsZero() {
			return errors.New("the config was delivered")
		}
		n.Report = credential(token, c.InstallID, now.Add(g.opts.ReportLife))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("minting a report token for node %q: %w", c.Node, err)
	}
	return token, nil
}

// Delivered records that the config of a claim is sent but for its last byte,
// which leaves after the record: the reader that has it all finds it recorded.
// The first time starts the replay window and is the evidence of the phase
// configured. It returns when the claim ends now.
func (g *Gate) Delivered(ctx context.Context, c Claim, sha256 string) (until time.Time, err error) {
	now := g.opts.Now()
	n, err := g.store.Update(ctx, c.Node, func(n *Node) error {
		if err := c.current(*n); err != nil {
			return err
		}
		if !n.Delivery.Completed.IsZero() {
			return nil
		}
		n.Delivery.Completed, n.Delivery.SHA256 = now, sha256
		if rank(n.Reached) < rank(api.PhaseConfigured) {
			n.advance(api.PhaseConfigured)
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("recording the delivery for node %q: %w", c.Node, err)
	}
	return g.claimEnd(n), nil
}

// current checks that no other install has begun since the claim.
func (c Claim) current(n Node) error {
	if n.Window.InstallID != c.InstallID || n.Delivery.Claimed.IsZero() {
		return errors.New("another install has begun")
	}
	return nil
}

// Report records what a machine says of itself. With an install token it may
// speak of the install, with a report token of the installed node. A report of
// a phase that is left behind changes nothing and is an error wrapping
// [ErrBackward]. The phase has changed when that of before differs.
func (g *Gate) Report(ctx context.Context, token string, from netip.Addr, r api.Report) (n Node, before api.Phase, err error) {
	name, err := g.tokenNode(token)
	if err != nil {
		return Node{}, "", err
	}
	var backward error
	n, err = g.change(ctx, name, from, func(n *Node, now time.Time) string {
		backward, before = nil, n.Phase
		id := n.Window.InstallID
		switch {
		case n.Install.valid(token, id, now) && n.Open(now):
			if r.Phase != api.PhaseInstalling && r.Phase != api.PhaseInstalled && r.Phase != api.PhaseFailed {
				return fmt.Sprintf("an install token may not report the phase %q", r.Phase)
			}
			if rank(n.Reached) < rank(api.PhaseInstalling) {
				return "no plan of this install was fetched"
			}
		case n.Report.valid(token, id, now):
			if r.Phase != api.PhaseFailed && rank(r.Phase) < rank(api.PhaseConfigured) {
				return fmt.Sprintf("a report token may not report the phase %q", r.Phase)
			}
		default:
			return "the token is not valid for a report"
		}
		if r.Phase != api.PhaseFailed && rank(r.Phase) < rank(n.Reached) {
			backward = fmt.Errorf("%w: %s comes before %s", ErrBackward, r.Phase, n.Reached)
			return ""
		}
		n.Last, n.LastReport = r, now
		n.advance(r.Phase)
		if rank(n.Reached) >= rank(api.PhaseBooted) {
			n.Delivery.Burned = true
			n.Install, n.Config = Credential{}, Credential{}
		}
		if n.Reached == api.PhaseReady && n.Open(now) {
			n.Window.Until = now
		}
		return ""
	})
	if err != nil {
		return Node{}, "", err
	}
	if backward != nil {
		return Node{}, "", fmt.Errorf("recording a report of node %q: %w", name, backward)
	}
	return n, before, nil
}
