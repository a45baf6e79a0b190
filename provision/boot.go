package provision

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/store"
)

// BootHandler serves what a boot loader asks for, by plain HTTP. All of it is
// public but the seeds.
func (s *Server) BootHandler() http.Handler { return http.HandlerFunc(s.serveBoot) }

// serveBoot routes by hand: http.ServeMux answers an unclean path with a
// redirect, and boot loaders differ in what they do with one.
func (s *Server) serveBoot(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if path == seedPath {
		// Not HEAD: to look at a seed is to mint a token.
		if allow(w, r, http.MethodGet) {
			s.serveSeed(w, r)
		}
		return
	}
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	switch path {
	case findPath:
		body, err := s.findScript()
		s.sendScript(w, body, err)
		return
	case scriptPath:
		s.serveScript(w, r)
		return
	case loaderPath:
		s.serveLoader(w)
		return
	}
	if artifact, ok := strings.CutPrefix(path, "/artifacts/"); ok {
		id, name, _ := strings.Cut(artifact, "/")
		s.serveArtifact(w, r, id, name)
		return
	}
	http.NotFound(w, r)
}

// Paths of the boot handler. Names end as some firmware wants them to.
const (
	// findPath is the script that is the same for every machine: it says what
	// the machine is to the other one.
	findPath = "/boot.ipxe"
	// scriptPath is the script of one machine, which says what it is in the
	// query.
	scriptPath = "/boot/machine.ipxe"
	// loaderPath is where UEFI firmware that boots by HTTP finds its loader.
	loaderPath = "/boot/ipxe.efi"
)

func (s *Server) serveLoader(w http.ResponseWriter) {
	body, err := s.loader()
	if err != nil {
		s.log.Error("boot loader not served", "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	send(w, "application/efi", body)
}

// loader is iPXE out of the current image.
func (s *Server) loader() ([]byte, error) {
	image, err := s.opts.Images.Current()
	if err != nil {
		return nil, fmt.Errorf("reading the boot loader: %w", err)
	}
	a, ok := image.Manifest.Artifact(images.IPXEFile)
	if !ok {
		return nil, fmt.Errorf("reading the boot loader: image %q has no %s", image.Manifest.ID, images.IPXEFile)
	}
	f, err := openArtifact(image, a)
	if err != nil {
		return nil, fmt.Errorf("reading the boot loader: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, a.Size))
}

// allow answers a request whose method is not one of methods.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

func (s *Server) serveScript(w http.ResponseWriter, r *http.Request) {
	m, ok := s.recognise(w, r)
	if !ok {
		return
	}
	n, err := s.node(r.Context(), m.Name)
	if err != nil {
		s.sendScript(w, nil, err)
		return
	}
	ok, reason := n.Installable(s.opts.Now())
	if ok {
		if why := s.lacks(n); why != "" {
			ok, reason = false, why
		}
	}
	var body []byte
	switch {
	case ok:
		body, err = s.installScript(m, n.Window.Image)
	case n.Window.Held && n.Open(s.opts.Now()):
		body, err = s.waitScript(m.Name, reason, "let it go on: k8snode release "+m.Name)
	default:
		body, err = s.localScript(m, reason)
	}
	s.log.Info("boot script served", "node", m.Name, "mac", m.MAC, "address", clientAddr(r).String(), "install", ok, "reason", reason)
	s.sendScript(w, body, err)
}

// recognise finds the machine that asks for its script, or answers a stranger:
// the script waits, so that an operator who adds the machine needs not go to it.
func (s *Server) recognise(w http.ResponseWriter, r *http.Request) (inventory.Machine, bool) {
	facts, err := inventory.ReadFacts(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return inventory.Machine{}, false
	}
	from := clientAddr(r)
	m, err := s.inventory.Match(facts)
	if err == nil {
		s.strangers.Known(facts, from)
		return m, true
	}
	if s.strangers.Saw(facts, from, err.Error(), s.opts.Now()) {
		s.log.Warn("unknown machine", "interfaces", fmt.Sprint(facts.MACs), "uuid", facts.UUID, "serial", facts.Serial,
			"manufacturer", facts.Manufacturer, "product", facts.Product, "address", from.String(), "reason", err.Error())
	}
	body, err := s.strangerScript(facts, err)
	s.sendScript(w, body, err)
	return inventory.Machine{}, false
}

// lacks says why the image of a node's install is none any more, or nothing.
func (s *Server) lacks(n store.Node) (reason string) {
	_, reason, err := s.usable(n.Window.Image)
	if reason != "" {
		s.log.Warn("image not installed", "node", n.Name, "error", err)
	}
	return reason
}

func (s *Server) sendScript(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		s.log.Error("boot script not served", "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	send(w, "text/plain; charset=utf-8", body)
}

// send writes a whole answer. The length is always given: some firmware loads
// nothing without it.
func send(w http.ResponseWriter, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	// The reader is gone if this fails; it asks again.
	_, _ = w.Write(body)
}
