package provision

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/store"
)

// maxRenew bounds a request: a certificate request has less than 1 KiB.
const maxRenew = 64 << 10

// serveRenew answers a node that shows one of its own certificates. There is no
// install and no window: what it gets is worth no more than what it has.
func (s *Server) serveRenew(w http.ResponseWriter, r *http.Request) {
	const action = "renew"
	if s.opts.Renew == nil {
		http.NotFound(w, r)
		return
	}
	from := clientAddr(r)
	name, err := shownName(r)
	if err != nil {
		s.deny(w, "", from, action, err)
		return
	}
	m, ok := s.inventory.Name(name)
	if !ok {
		s.deny(w, "", from, action, &store.RefusedError{Reason: "the certificate is of no node of the inventory"})
		return
	}
	if err := s.checkSource(r.Context(), m, from); err != nil {
		s.deny(w, m.Name, from, action, err)
		return
	}
	request, err := readRenew(http.MaxBytesReader(w, r.Body, maxRenew))
	if err != nil {
		s.log.Warn("request not understood", "node", m.Name, "address", from.String(), "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := s.opts.Renew(r.Context(), m.Name, request)
	if err == nil {
		err = s.Audit(audit.Event{
			Node: m.Name, Address: from, Action: action, Result: "granted",
			Detail: strings.Join(slices.Sorted(maps.Keys(answer.Certificates)), " "),
		})
	}
	var body []byte
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if err != nil {
		s.deny(w, m.Name, from, action, err)
		return
	}
	s.log.Info("certificates renewed", "node", m.Name, "address", from.String(), "certificates", len(answer.Certificates))
	send(w, "application/json", body)
}

// shownName is the common name of the client's certificate, which the TLS
// configuration has checked: of a member of etcd it is the node.
func shownName(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", &store.RefusedError{Reason: "the request shows no certificate"}
	}
	return r.TLS.VerifiedChains[0][0].Subject.CommonName, nil
}

func readRenew(r io.Reader) (api.RenewRequest, error) {
	var request api.RenewRequest
	b, err := io.ReadAll(r)
	if err != nil {
		return request, fmt.Errorf("reading a renewal: %w", err)
	}
	if err := json.Unmarshal(b, &request); err != nil {
		return request, fmt.Errorf("reading a renewal: %w", err)
	}
	if len(request.Requests) == 0 {
		return request, errors.New("reading a renewal: it asks for no certificate")
	}
	return request, nil
}

// renewRoots signed what a node shows.
func (s *Server) renewRoots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.opts.RenewCA)
	return roots
}
