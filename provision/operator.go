package provision

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
)

var _ admin.Backend = (*Server)(nil)

// AdminHandler serves the operator's API. It has no authentication of its own
// and belongs behind [admin.Listen].
func (s *Server) AdminHandler() http.Handler { return admin.NewHandler(s, s.OperatorImages()) }

// OperatorImages are the images as operators see and change them.
func (s *Server) OperatorImages() admin.Library { return operatorImages{s} }

// Nodes returns what an operator sees, in the order of the inventory.
func (s *Server) Nodes(ctx context.Context) ([]admin.Node, error) {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the nodes: %w", err)
	}
	byName := make(map[string]store.Node, len(nodes))
	for _, n := range nodes {
		byName[n.Name] = n
	}
	views := make([]admin.Node, 0, len(nodes))
	for _, m := range s.inventory.Machines() {
		views = append(views, s.view(m, byName[m.Name]))
	}
	return views, nil
}

// Strangers returns the machines that asked and are none of the inventory, the
// newest first.
func (s *Server) Strangers(context.Context) ([]admin.Stranger, error) {
	views := []admin.Stranger{}
	for _, seen := range s.strangers.All() {
		v := admin.Stranger{
			MACs: []string{}, UUID: seen.UUID, Serial: seen.Serial, Manufacturer: seen.Manufacturer, Product: seen.Product,
			Address: seen.Address.String(), Reason: seen.Reason, First: seen.First, Last: seen.Last, Count: seen.Count,
		}
		for _, mac := range seen.MACs {
			v.MACs = append(v.MACs, mac.String())
		}
		views = append(views, v)
	}
	return views, nil
}

// Arm opens an install window for a node. An install that was under way is
// over. To check opens none.
func (s *Server) Arm(ctx context.Context, node string, opts admin.ArmOptions) (admin.Node, error) {
	m, ok := s.inventory.Name(node)
	if !ok {
		return admin.Node{}, fmt.Errorf("arming node %q: %w", node, store.ErrUnknownNode)
	}
	image, err := s.installable(opts.Image)
	if err != nil {
		return admin.Node{}, fmt.Errorf("arming node %q: %w", node, err)
	}
	if opts.KeepEtcd && !m.Etcd {
		return admin.Node{}, fmt.Errorf("arming node %q: %w: it has no etcd to keep", node, store.ErrWindow)
	}
	if opts.Check {
		n, err := s.node(ctx, node)
		return s.view(m, n), err
	}
	until := s.opts.Now().Add(opts.For)
	detail := "until " + until.UTC().Format(time.RFC3339)
	if opts.KeepEtcd {
		detail += ", keeping etcd"
	}
	if opts.Transaction != "" {
		detail += ", for a " + opts.Transaction
	}
	if err := s.Audit(audit.Event{Node: node, Action: "arm", Result: "asked", Detail: detail}); err != nil {
		return admin.Node{}, err
	}
	n, err := s.gate.Arm(ctx, node, store.ArmOptions{
		Image: image.Manifest.ID, Until: until, KeepEtcd: opts.KeepEtcd, Transaction: opts.Transaction,
	})
	if err != nil {
		s.failed(node, netip.Addr{}, "arm", err)
		return admin.Node{}, err
	}
	s.forget(ctx, node)
	s.record(audit.Event{Node: node, Action: "arm", Result: "granted", Detail: "install " + n.Window.InstallID + ", image " + n.Window.Image})
	s.log.Info("node armed", "node", node, "until", until, "image", n.Window.Image)
	return s.view(m, n), nil
}

// installable returns the image with an ID, or the one that is current.
func (s *Server) installable(id string) (image library.Image, err error) {
	if id == "" {
		image, err = s.opts.Images.Current()
	} else {
		image, err = s.opts.Images.Image(id)
	}
	if err != nil {
		return library.Image{}, err
	}
	return image, s.opts.accept(image)
}

// Disarm closes the window of a node.
func (s *Server) Disarm(ctx context.Context, node string) (admin.Node, error) {
	m, ok := s.inventory.Name(node)
	if !ok {
		return admin.Node{}, fmt.Errorf("disarming node %q: %w", node, store.ErrUnknownNode)
	}
	// Closing needs no record to be allowed.
	n, err := s.gate.Disarm(ctx, node)
	if err != nil {
		s.failed(node, netip.Addr{}, "disarm", err)
		return admin.Node{}, err
	}
	s.forget(ctx, node)
	s.record(audit.Event{Node: node, Action: "disarm", Result: "granted"})
	s.log.Info("node disarmed", "node", node)
	return s.view(m, n), nil
}

// Hold keeps a node from installing while its window stays open.
func (s *Server) Hold(ctx context.Context, node, why string) (admin.Node, error) {
	return s.change(node, "hold", why, func() (store.Node, error) { return s.gate.Hold(ctx, node, why) })
}

// Release lets a held node install again, in the window that is open.
func (s *Server) Release(ctx context.Context, node string) (admin.Node, error) {
	return s.change(node, "release", "", func() (store.Node, error) { return s.gate.Release(ctx, node) })
}

// change does something to a node, after a record that it was asked for.
func (s *Server) change(node, action, detail string, do func() (store.Node, error)) (admin.Node, error) {
	m, ok := s.inventory.Name(node)
	if !ok {
		return admin.Node{}, fmt.Errorf("%s of node %q: %w", action, node, store.ErrUnknownNode)
	}
	if err := s.Audit(audit.Event{Node: node, Action: action, Result: "asked", Detail: detail}); err != nil {
		return admin.Node{}, err
	}
	n, err := do()
	if err != nil {
		s.failed(node, netip.Addr{}, action, err)
		return admin.Node{}, err
	}
	s.record(audit.Event{Node: node, Action: action, Result: "granted"})
	s.log.Info("node changed", "node", node, "action", action)
	return s.view(m, n), nil
}

func (s *Server) view(m inventory.Machine, n store.Node) admin.Node {
	now := s.opts.Now()
	v := admin.Node{
		Name: m.Name, MAC: m.HardwareAddr().String(), Address: m.Address.String(), Role: m.Role,
		Phase: n.PhaseAt(now), Step: n.Last.Step, Done: n.Last.Done, Total: n.Last.Total,
		Message: n.Last.Message, LastReport: n.LastReport,
		WindowEnd: n.Window.Until, Open: n.Open(now), Held: n.Window.Held, HeldFor: n.Window.Why,
		Image: n.Window.Image, KeepEtcd: n.Window.KeepEtcd, Transaction: n.Window.Transaction, Armed: n.Window.Opened,
		Refused: n.Refused,
	}
	if n.Refused > 0 {
		v.LastRefusal = &admin.Refusal{
			Time: n.LastRefusal.Time, Address: n.LastRefusal.Address.String(), Reason: n.LastRefusal.Reason,
		}
	}
	return v
}
