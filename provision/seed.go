package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/cpio"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/store"
)

// seedPath is where a machine that says what it is gets its seed.
const seedPath = "/seed/machine.cpio"

func (s *Server) serveSeed(w http.ResponseWriter, r *http.Request) {
	if !s.patient(w, r) {
		return
	}
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
	if err == nil {
		body, err = s.seed(m, token)
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
	send(w, "application/x-cpio", body)
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

// seed is the archive that the boot loader appends to the initramfs.
func (s *Server) seed(m inventory.Machine, token string) ([]byte, error) {
	b, err := json.Marshal(api.Seed{Node: m.Name, Server: s.opts.TLSURL, CA: string(s.opts.CA), Token: token})
	if err != nil {
		return nil, fmt.Errorf("encoding the seed of node %q: %w", m.Name, err)
	}
	return cpio.Archive(cpio.File{Path: api.SeedPath, Mode: 0o600, Data: b})
}
