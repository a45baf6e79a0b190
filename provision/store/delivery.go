package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// KeepEtcd says that the data of etcd is still on its disk.
	KeepEtcd bool
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
		KeepEtcd:  n.Window.KeepEtcd,
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

// A Config is a rendered config, with the report token that is in it.
type Config struct {
	Body []byte
	// report is the digest of the token.
	report string
}

// Kept returns the config that was rendered for a claim, by whichever server;
// ok is false when there is none.
func (g *Gate) Kept(ctx context.Context, c Claim, token string) (config Config, ok bool, err error) {
	sealed, err := g.store.Kept(ctx, c.Node)
	if err != nil {
		return Config{}, false, fmt.Errorf("reading the config of node %q: %w", c.Node, err)
	}
	if sealed.InstallID != c.InstallID {
		return Config{}, false, nil
	}
	config, err = open(sealed, token)
	return config, err == nil, err
}

func open(sealed Sealed, token string) (Config, error) {
	body, err := unseal(token, sealed.InstallID, sealed.Box)
	return Config{Body: body, report: sealed.Report}, err
}

// Render renders the config of a claim and keeps it, encrypted by the token of
// its reader. It returns the one that is kept, which is another server's when
// that was faster. The report token that render is given is worth nothing before
// the config with it was delivered.
func (g *Gate) Render(ctx context.Context, c Claim, token string, render func(report string) ([]byte, error)) (Config, error) {
	report, err := newToken(g.opts.Rand, c.Node)
	if err != nil {
		return Config{}, err
	}
	body, err := render(report)
	if err != nil {
		return Config{}, err
	}
	box, err := seal(g.opts.Rand, token, c.InstallID, body)
	if err != nil {
		return Config{}, err
	}
	kept, err := g.store.Keep(ctx, c.Node, Sealed{
		InstallID: c.InstallID, Report: credential(report, "", time.Time{}).SHA256, Until: c.Until, Box: box,
	})
	if err != nil {
		return Config{}, fmt.Errorf("keeping the config of node %q: %w", c.Node, err)
	}
	return open(kept, token)
}

// Forget forgets the config of a node: nobody may ask for it any more.
func (g *Gate) Forget(ctx context.Context, node string) error {
	if err := g.store.Forget(ctx, node); err != nil {
		return fmt.Errorf("forgetting the config of node %q: %w", node, err)
	}
	return nil
}

// Delivered records that the config of a claim is sent but for its last byte,
// which leaves after the record: the reader that has it all finds it recorded.
// The first time starts the replay window, is the evidence of the phase
// configuring, and makes the report token in the config a good one.
func (g *Gate) Delivered(ctx context.Context, c Claim, config Config) error {
	now := g.opts.Now()
	sum := sha256.Sum256(config.Body)
	_, err := g.store.Update(ctx, c.Node, func(n *Node) error {
		if err := c.current(*n); err != nil {
			return err
		}
		if !n.Delivery.Completed.IsZero() {
			return nil
		}
		n.Delivery.Completed, n.Delivery.SHA256 = now, hex.EncodeToString(sum[:])
		n.Report = Credential{SHA256: config.report, InstallID: c.InstallID, Expires: now.Add(g.opts.ReportLife)}
		if rank(n.Reached) < rank(api.PhaseConfiguring) {
			n.advance(api.PhaseConfiguring)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording the delivery for node %q: %w", c.Node, err)
	}
	return nil
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
			if r.Phase != api.PhaseFailed && rank(r.Phase) < rank(api.PhaseConfiguring) {
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
		if rank(n.Reached) >= rank(api.PhaseBootstrapping) {
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
