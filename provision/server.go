package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/throttle"
)

// A Server holds everything but the sockets.
type Server struct {
	opts      Options
	log       *slog.Logger
	store     store.Store
	gate      *store.Gate
	inventory *inventory.Inventory
	strangers inventory.Sightings
	observer  Observer
	failures  *throttle.Limiter
	witness   witness
}

// An Observer is told what the server does, to count it.
type Observer interface {
	// Boot and Machine go around the handlers of boot loaders and of machines.
	Boot(h http.Handler) http.Handler
	Machine(h http.Handler) http.Handler
	// Audited is told each event that is on record, Reached each phase that a
	// node was not in before.
	Audited(e audit.Event)
	Reached(p api.Phase)
}

// blind is the observer of a server that is not observed.
type blind struct{}

func (blind) Boot(h http.Handler) http.Handler    { return h }
func (blind) Machine(h http.Handler) http.Handler { return h }
func (blind) Audited(audit.Event)                 {}
func (blind) Reached(api.Phase)                   {}

// Observe makes the server tell o what it does. It is for before [Server.Run].
func (s *Server) Observe(o Observer) { s.observer = o }

// New checks opts and returns a server; it listens nowhere yet.
func New(ctx context.Context, opts Options) (*Server, error) {
	machines, err := opts.validate()
	if err != nil {
		return nil, fmt.Errorf("checking the options of the provisioning server: %w", err)
	}
	s := &Server{opts: opts, log: opts.Logger, store: opts.Store, inventory: machines, observer: blind{}, failures: failures(opts)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.store == nil {
		s.store = new(store.Memory)
	}
	s.gate, err = store.NewGate(s.store, store.GateOptions{
		Now: opts.Now, Rand: opts.Rand,
		MaxPlans: opts.Limits.MaxPlans, ReplayWindow: opts.Limits.ReplayWindow,
		MaxWindow: opts.Limits.MaxWindow, ReportLife: opts.Limits.ReportLife,
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range machines.Machines() {
		names = append(names, m.Name)
	}
	if err := s.store.Add(ctx, names...); err != nil {
		return nil, fmt.Errorf("adding the inventory to the store: %w", err)
	}
	return s, nil
}

// failures are those of machines; a site behind one address has many of them.
func failures(opts Options) *throttle.Limiter {
	limit := opts.Limits.Failures
	if limit.Burst == 0 {
		limit.Burst = 60
	}
	if limit.Every == 0 {
		limit.Every = time.Second
	}
	return throttle.New(limit, opts.Now)
}

// patient reports whether an address may ask, or answers it: a machine comes back
// after a 503, and gives up after a 429.
func (s *Server) patient(w http.ResponseWriter, r *http.Request) bool {
	wait := s.failures.Wait(clientAddr(r))
	if wait == 0 {
		return true
	}
	s.log.Debug("request put off", "address", r.RemoteAddr, "wait", wait)
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	http.Error(w, "too many refused requests from this address, come back later", http.StatusServiceUnavailable)
	return false
}

// node returns the state of one node.
func (s *Server) node(ctx context.Context, name string) (store.Node, error) {
	n, err := s.store.Node(ctx, name)
	if err != nil {
		return store.Node{}, fmt.Errorf("reading node %q: %w", name, err)
	}
	return n, nil
}

// Why a node is not installed that was armed: somebody removed its image by
// hand, or changed it, or the server wants signatures since then.
const (
	imageGone      = "the image of this install is gone: arm the node again"
	imageUntrusted = "no trusted key signed the image of this install: sign it and publish it again, or arm the node with another"
)

// imageOf returns the image of a node's install, or refuses: what is gone stays
// so, and only an operator can choose another.
func (s *Server) imageOf(ctx context.Context, node, id string, from netip.Addr) (library.Image, error) {
	image, reason, err := s.usable(id)
	if reason != "" {
		return library.Image{}, s.gate.Refuse(ctx, node, from, reason)
	}
	return image, err
}

// usable returns an image that can be installed. It says why not where only an
// operator can help.
func (s *Server) usable(id string) (image library.Image, reason string, err error) {
	image, err = s.opts.Images.Image(id)
	if err == nil {
		err = s.opts.Images.Trusted(image)
	}
	switch {
	case errors.Is(err, library.ErrUnknown):
		return library.Image{}, imageGone, err
	case errors.Is(err, library.ErrUntrusted):
		return library.Image{}, imageUntrusted, err
	}
	return image, "", err
}

// clientAddr is the address of the peer. Forwarding headers are not read:
// anybody can write them.
func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// checkSource refuses a request for m that comes from elsewhere.
func (s *Server) checkSource(ctx context.Context, m inventory.Machine, from netip.Addr) error {
	if s.opts.Sources == AnySource || from == m.Address.Addr() {
		return nil
	}
	return s.gate.Refuse(ctx, m.Name, from, "the request is not from the node's own address")
}

// refused writes a refusal to the log and to the audit.
func (s *Server) refused(node string, from netip.Addr, action, reason string) {
	s.failures.Take(from)
	s.log.Warn("request refused", "node", node, "address", from.String(), "action", action, "reason", reason)
	s.record(audit.Event{Node: node, Address: from, Action: action, Result: "refused", Detail: reason})
}

// failed writes a fault of the server's own to the log and to the audit. The
// error stays out of the audit: it is for whoever debugs the server.
func (s *Server) failed(node string, from netip.Addr, action string, err error) {
	s.log.Error("request failed", "node", node, "address", from.String(), "action", action, "error", err)
	s.record(audit.Event{Node: node, Address: from, Action: action, Result: "failed"})
}

// Audit records what must be on record before it happens. An operator's side
// records its own events by it.
func (s *Server) Audit(e audit.Event) error {
	if err := s.opts.Audit.Record(e); err != nil {
		return err
	}
	s.observer.Audited(e)
	return nil
}

// record audits what nothing depends on. What is handed out is recorded first,
// by a call whose error is heeded.
func (s *Server) record(e audit.Event) {
	if err := s.Audit(e); err != nil {
		s.log.Error("event not audited", "node", e.Node, "action", e.Action, "result", e.Result, "error", err)
	}
}

// deny answers a request of the machine API that err ended.
func (s *Server) deny(w http.ResponseWriter, node string, from netip.Addr, action string, err error) {
	refused := (*store.RefusedError)(nil)
	switch {
	case errors.As(err, &refused):
		s.refused(node, from, action, refused.Reason)
		// The reason is for the operator: who presents a wrong token learns
		// nothing.
		http.Error(w, "refused", http.StatusForbidden)
	case errors.Is(err, store.ErrBackward):
		s.refused(node, from, action, err.Error())
		http.Error(w, store.ErrBackward.Error(), http.StatusConflict)
	default:
		s.failed(node, from, action, err)
		http.Error(w, "not available now", http.StatusServiceUnavailable)
	}
}
