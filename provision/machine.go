package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
)

// Bounds of a report.
const (
	maxReport  = 16 << 10
	maxStep    = 64
	maxMessage = 4 << 10
)

// MachineHandler serves the machine API of package api. It must be reached
// through TLS only.
func (s *Server) MachineHandler() http.Handler { return http.HandlerFunc(s.serveMachine) }

func (s *Server) serveMachine(w http.ResponseWriter, r *http.Request) {
	if !s.patient(w, r) {
		return
	}
	// Exact paths: an unclean one is not found, and never redirected, because
	// Ignition drops its headers on the way.
	switch r.URL.Path {
	case api.PathInstall:
		if allow(w, r, http.MethodGet) {
			s.serveInstall(w, r)
		}
	case api.PathConfig:
		if allow(w, r, http.MethodGet) {
			s.serveConfig(w, r)
		}
	case api.PathReport:
		if allow(w, r, http.MethodPost) {
			s.serveReport(w, r)
		}
	case api.PathRenew:
		if allow(w, r, http.MethodPost) {
			s.serveRenew(w, r)
		}
	case api.PathBoot:
		if allow(w, r, http.MethodGet) {
			s.serveBootAnswer(w, r)
		}
	case api.PathSeed:
		if allow(w, r, http.MethodGet) {
			s.serveSeed(w, r, s.seedDocument)
		}
	default:
		http.NotFound(w, r)
	}
}

// request is what is known of a request before its token is checked.
type request struct {
	token string
	from  netip.Addr
	m     inventory.Machine
}

// identify reads whose request this is, or answers it.
func (s *Server) identify(w http.ResponseWriter, r *http.Request, action string) (request, bool) {
	req := request{from: clientAddr(r)}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	name, ok := store.TokenNode(token)
	if !strings.EqualFold(scheme, "Bearer") || !ok {
		s.deny(w, "", req.from, action, &store.RefusedError{Reason: "the request has no token"})
		return request{}, false
	}
	req.token = token
	req.m, ok = s.inventory.Name(name)
	if !ok {
		s.deny(w, "", req.from, action, &store.RefusedError{Reason: "the token is of no node of the inventory"})
		return request{}, false
	}
	if err := s.checkSource(r.Context(), req.m, req.from); err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return request{}, false
	}
	return req, true
}

func (s *Server) serveInstall(w http.ResponseWriter, r *http.Request) {
	const action = "plan"
	req, ok := s.identify(w, r, action)
	if !ok {
		return
	}
	n, token, err := s.gate.Plan(r.Context(), req.token, req.from)
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	image, err := s.imageOf(r.Context(), n.Name, n.Window.Image, req.from)
	if err != nil {
		s.deny(w, n.Name, req.from, action, err)
		return
	}
	body, err := s.plan(req.m, n, image, token)
	if err == nil {
		err = s.Audit(audit.Event{
			Node: n.Name, Address: req.from, Action: action, Result: "granted",
			Detail: "image " + n.Window.Image,
		})
	}
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	s.log.Info("plan served", "node", n.Name, "address", req.from.String(), "plans", n.Window.Plans)
	send(w, "application/json", body)
}

// plan is the install plan with a stub for the config token.
func (s *Server) plan(m inventory.Machine, n store.Node, image library.Image, token string) ([]byte, error) {
	stub, err := s.opts.Stub(s.opts.TLSURL+api.PathConfig, token)
	if err != nil {
		return nil, fmt.Errorf("making the stub of node %q: %w", m.Name, err)
	}
	if len(stub) == 0 {
		return nil, fmt.Errorf("making the stub of node %q: it is empty", m.Name)
	}
	id := image.Manifest.ID
	blockMap, ok := image.Manifest.Artifact(images.BlockMapFile)
	if !ok {
		return nil, fmt.Errorf("internal error: image %q has no block map", id)
	}
	var keep *api.KeepPartition
	if n.Window.KeepEtcd && m.EtcdMiB > 0 {
		keep = &api.KeepPartition{Label: images.LabelEtcd, SizeMiB: m.EtcdMiB, Others: m.Partitions}
	}
	plan := api.InstallPlan{
		Node: m.Name,
		Image: api.InstallImage{
			ID:             id,
			DiskURL:        s.artifactURL(id, images.DiskFile),
			BlockMapURL:    s.artifactURL(id, images.BlockMapFile),
			BlockMapSHA256: blockMap.SHA256,
			ManifestURL:    s.artifactURL(id, images.ManifestFile),
			Keys:           s.opts.Images.Keys().Lines(),
		},
		Disk: m.Disk,
		Keep: keep,
		Stub: stub,
	}
	if len(image.Signature) > 0 {
		plan.Image.SignatureURL = s.artifactURL(id, images.SignatureFile)
	}
	return json.Marshal(plan)
}

func (s *Server) serveReport(w http.ResponseWriter, r *http.Request) {
	const action = "report"
	req, ok := s.identify(w, r, action)
	if !ok {
		return
	}
	report, err := readReport(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		s.log.Warn("report not understood", "node", req.m.Name, "address", req.from.String(), "error", err)
		http.Error(w, err.Error(), status)
		return
	}
	n, before, err := s.gate.Report(r.Context(), req.token, req.from, report)
	if err == nil && n.Phase != before {
		err = s.Audit(audit.Event{
			Node: n.Name, Address: req.from, Action: action, Result: "recorded", Detail: "phase " + string(n.Phase),
		})
	}
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	if n.Phase != before {
		s.observer.Reached(n.Phase)
	}
	if n.Delivery.Burned {
		s.forget(r.Context(), n.Name)
	}
	s.log.Info("report", "node", n.Name, "phase", string(n.Phase), "step", report.Step,
		"done", report.Done, "total", report.Total, "message", report.Message)
	send(w, "application/json", []byte("{}\n"))
}

// readReport reads one report. Keys that it does not know are those of a newer
// agent.
func readReport(r io.Reader) (api.Report, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return api.Report{}, fmt.Errorf("reading a report: %w", err)
	}
	var report api.Report
	if err := json.Unmarshal(b, &report); err != nil {
		return api.Report{}, fmt.Errorf("reading a report: %w", err)
	}
	if !slices.Contains(api.Phases(), report.Phase) {
		return api.Report{}, errors.New("reading a report: there is no such phase")
	}
	if report.Done < 0 || report.Total < 0 || len(report.Step) > maxStep {
		return api.Report{}, errors.New("reading a report: a step or its progress is out of range")
	}
	report.Step, report.Message = printable(report.Step), printable(report.Message)
	if len(report.Message) > maxMessage {
		report.Message = strings.ToValidUTF8(report.Message[:maxMessage], "")
	}
	return report, nil
}

// printable replaces what could steer the terminal of an operator.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
