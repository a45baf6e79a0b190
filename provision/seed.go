package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/cpio"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/store"
)

// seedPath is where a machine that says what it is gets its seed.
const seedPath = "/seed/machine.cpio"

// serveSeed mints a token for the machine that asks, and answers with what form
// makes of the seed.
func (s *Server) serveSeed(w http.ResponseWriter, r *http.Request, form func(api.Seed) (body []byte, contentType string, err error)) {
	from := clientAddr(r)
	facts, err := inventory.ReadFacts(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m, err := s.inventory.Match(facts)
	if err != nil {
		s.failures.Take(from)
		s.record(audit.Event{Address: from, Action: "seed", Result: "refused", Detail: facts.IDs() + ": " + err.Error()})
		http.NotFound(w, r)
		return
	}
	token, err := s.mintSeed(r, m, facts)
	if refused := (*store.RefusedError)(nil); errors.As(err, &refused) {
		s.refused(m.Name, from, "seed", refused.Reason)
		http.NotFound(w, r)
		return
	}
	var body []byte
	var contentType string
	if err == nil {
		body, contentType, err = form(api.Seed{Node: m.Name, Server: s.opts.TLSURL, CA: string(s.opts.CA), Token: token})
	}
	if err == nil {
		err = s.Audit(audit.Event{Node: m.Name, Address: from, Action: "seed", Result: "granted", Detail: facts.IDs()})
	}
	if err != nil {
		s.failed(m.Name, from, "seed", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	s.log.Info("seed served", "node", m.Name, "address", from.String())
	send(w, contentType, body)
}

func (s *Server) mintSeed(r *http.Request, m inventory.Machine, facts inventory.Facts) (string, error) {
	if err := s.checkSource(r.Context(), m, clientAddr(r)); err != nil {
		return "", err
	}
	n, err := s.node(r.Context(), m.Name)
	if err != nil {
		return "", err
	}
	if ok, _ := n.Installable(s.opts.Now()); ok {
		if reason := s.lacks(n); reason != "" {
			return "", s.gate.Refuse(r.Context(), m.Name, clientAddr(r), reason)
		}
	}
	return s.gate.Seed(r.Context(), m.Name, facts.IDs(), clientAddr(r))
}

// seedDocument is the seed for an installer, which speaks TLS.
func (*Server) seedDocument(seed api.Seed) ([]byte, string, error) {
	b, err := json.Marshal(seed)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the seed of node %q: %w", seed.Node, err)
	}
	return b, "application/json", nil
}

// seedArchive is what the boot loader appends to the initramfs.
func (s *Server) seedArchive(seed api.Seed) ([]byte, string, error) {
	b, _, err := s.seedDocument(seed)
	if err != nil {
		return nil, "", err
	}
	archive, err := cpio.Archive(cpio.File{Path: api.SeedPath, Mode: 0o600, Data: b})
	return archive, "application/x-cpio", err
}

// serveBootAnswer says to an installer what a boot script says to a boot loader.
func (s *Server) serveBootAnswer(w http.ResponseWriter, r *http.Request) {
	facts, err := inventory.ReadFacts(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from := clientAddr(r)
	d, err := s.decide(r.Context(), facts, from)
	var body []byte
	if err == nil {
		body, err = json.Marshal(d.answer)
	}
	if err != nil {
		s.log.Error("installer not answered", "address", from.String(), "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	s.log.Info("installer answered", "node", d.answer.Node, "address", from.String(), "action", string(d.answer.Action), "reason", d.answer.Reason)
	send(w, "application/json", body)
}

// Seed mints an install token for an operator who carries it to the machine. It is
// good for as long as the window is open, and that of a seed before it no longer is.
func (s *Server) Seed(ctx context.Context, node string) (admin.InstallSeed, error) {
	m, ok := s.inventory.Name(node)
	if !ok {
		return admin.InstallSeed{}, fmt.Errorf("making a seed of node %q: %w", node, store.ErrUnknownNode)
	}
	if err := s.Audit(audit.Event{Node: node, Action: "seed", Result: "asked", Detail: "by an operator"}); err != nil {
		return admin.InstallSeed{}, err
	}
	token, until, err := s.gate.Issue(ctx, node)
	if err != nil {
		s.failed(node, netip.Addr{}, "seed", err)
		return admin.InstallSeed{}, err
	}
	if err := s.Audit(audit.Event{Node: node, Action: "seed", Result: "granted", Detail: "to an operator"}); err != nil {
		return admin.InstallSeed{}, err
	}
	s.log.Info("seed given to an operator", "node", node, "until", until)
	seed := admin.InstallSeed{Node: m.Name, Server: s.opts.TLSURL, CA: string(s.opts.CA), Token: token, Until: until}
	for _, mac := range m.Interfaces() {
		seed.MACs = append(seed.MACs, mac.String())
	}
	return seed, nil
}
