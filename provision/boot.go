package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
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
			if s.patient(w, r) {
				s.serveSeed(w, r, s.seedArchive)
			}
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
	if err := s.witness.check(f, filepath.Join(image.Dir, a.Path), a); err != nil {
		return nil, fmt.Errorf("reading the boot loader: %w", err)
	}
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
	facts, err := inventory.ReadFacts(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from := clientAddr(r)
	d, err := s.decide(r.Context(), facts, from)
	if err != nil {
		s.sendScript(w, nil, err)
		return
	}
	var body []byte
	switch d.answer.Action {
	case api.ActionInstall:
		body, err = s.installScript(d.machine, d.image)
	case api.ActionWait:
		body, err = s.waitScript(cmp.Or(d.machine.Name, facts.IDs(), "it has no interface"), d.answer.Reason, d.answer.Remedy)
	default:
		body, err = s.localScript(d.machine, d.answer.Reason)
	}
	if d.machine.Name != "" {
		s.log.Info("boot script served", "node", d.machine.Name, "mac", d.machine.MAC, "address", from.String(),
			"install", d.answer.Action == api.ActionInstall, "reason", d.answer.Reason)
	}
	s.sendScript(w, body, err)
}

// A decision is what a machine shall do, in whichever words it asked.
type decision struct {
	answer api.BootAnswer
	// machine is the zero value for one that is not in the inventory, or that
	// contradicts it; image is that of its install.
	machine inventory.Machine
	image   string
}

// decide says what the machine with these facts shall do now. A stranger waits, so
// that an operator who adds the machine needs not go to it.
func (s *Server) decide(ctx context.Context, facts inventory.Facts, from netip.Addr) (decision, error) {
	m, err := s.inventory.Match(facts)
	if err != nil {
		return s.stranger(facts, from, err), nil
	}
	s.strangers.Known(facts, from)
	n, err := s.node(ctx, m.Name)
	if err != nil {
		return decision{}, err
	}
	d := decision{answer: api.BootAnswer{Node: m.Name, Action: api.ActionInstall, Disk: m.Disk}, machine: m, image: n.Window.Image}
	ok, reason := n.Installable(s.opts.Now())
	if ok {
		if why := s.lacks(n); why != "" {
			ok, reason = false, why
		}
	}
	switch {
	case ok:
	case n.Window.Held && n.Open(s.opts.Now()):
		d.answer.Action, d.answer.Reason, d.answer.Remedy = api.ActionWait, reason, "let it go on: k8snode release "+m.Name
	default:
		d.answer.Action, d.answer.Reason, d.answer.Remedy = api.ActionLocal, reason, "to install it: k8snode arm "+m.Name
	}
	return d, nil
}

// stranger records a machine that is in the inventory under no name, or under two.
func (s *Server) stranger(facts inventory.Facts, from netip.Addr, why error) decision {
	if s.strangers.Saw(facts, from, why.Error(), s.opts.Now()) {
		s.log.Warn("unknown machine", "interfaces", fmt.Sprint(facts.MACs), "uuid", facts.UUID, "serial", facts.Serial,
			"manufacturer", facts.Manufacturer, "product", facts.Product, "address", from.String(), "reason", why.Error())
	}
	document := cmp.Or(s.opts.InventoryName, "the cluster document")
	remedy := "correct " + document
	if errors.Is(why, inventory.ErrUnknown) {
		remedy = "to install it, add a node with its MAC to " + document
	}
	return decision{answer: api.BootAnswer{Action: api.ActionWait, Reason: why.Error(), Remedy: remedy}}
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
