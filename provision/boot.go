package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/cpio"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
)

// BootHandler serves what a boot loader asks for, by plain HTTP. All of it is
// public but the seeds.
func (s *Server) BootHandler() http.Handler { return http.HandlerFunc(s.serveBoot) }

// serveBoot routes by hand: http.ServeMux answers an unclean path with a
// redirect, and boot loaders differ in what they do with one.
func (s *Server) serveBoot(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if seed, ok := strings.CutPrefix(path, "/seed/"); ok {
		// Not HEAD: to look at a seed is to mint a token.
		if allow(w, r, http.MethodGet) {
			s.serveSeed(w, r, seed)
		}
		return
	}
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if path == "/boot.ipxe" {
		body, err := s.findScript()
		s.sendScript(w, body, err)
		return
	}
	if path == loaderPath {
		s.serveLoader(w)
		return
	}
	if name, ok := strings.CutPrefix(path, "/boot/"); ok {
		s.serveScript(w, r, name)
		return
	}
	if artifact, ok := strings.CutPrefix(path, "/artifacts/"); ok {
		id, name, _ := strings.Cut(artifact, "/")
		s.serveArtifact(w, r, id, name)
		return
	}
	http.NotFound(w, r)
}

// loaderPath is where UEFI firmware that boots by HTTP finds its loader.
const loaderPath = "/boot/ipxe.efi"

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

// macFile reads the MAC address of a file name such as
// 52-54-00-00-00-01.ipxe.
func macFile(name, suffix string) (net.HardwareAddr, bool) {
	name, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return nil, false
	}
	mac, err := net.ParseMAC(name)
	if err != nil || len(mac) != 6 {
		return nil, false
	}
	return mac, true
}

func (s *Server) serveScript(w http.ResponseWriter, r *http.Request, name string) {
	mac, ok := macFile(name, ".ipxe")
	if !ok {
		http.NotFound(w, r)
		return
	}
	m, ok := s.byMAC[mac.String()]
	if !ok {
		s.log.Info("boot script for an unknown machine", "mac", mac.String(), "address", clientAddr(r).String())
		body, err := s.unknownScript(mac)
		s.sendScript(w, body, err)
		return
	}
	n, err := s.node(r.Context(), m.Name)
	if err != nil {
		s.log.Error("boot script not served", "node", m.Name, "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	var body []byte
	ok, reason := n.Installable(s.opts.Now())
	if ok && s.gone(n) {
		ok, reason = false, imageGone
	}
	if ok {
		body, err = s.installScript(m, n.Window.Image)
	} else {
		body, err = s.localScript(m, reason)
	}
	s.log.Info("boot script served", "node", m.Name, "mac", m.mac.String(), "address", clientAddr(r).String(), "install", ok, "reason", reason)
	s.sendScript(w, body, err)
}

// gone reports whether the image of a node's install is no longer there.
func (s *Server) gone(n store.Node) bool {
	_, err := s.opts.Images.Image(n.Window.Image)
	return errors.Is(err, library.ErrUnknown)
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

func (s *Server) serveSeed(w http.ResponseWriter, r *http.Request, name string) {
	from := clientAddr(r)
	mac, ok := macFile(name, ".cpio")
	if !ok {
		http.NotFound(w, r)
		return
	}
	m, ok := s.byMAC[mac.String()]
	if !ok {
		s.record(audit.Event{Address: from, Action: "seed", Result: "refused", Detail: "unknown machine " + mac.String()})
		http.NotFound(w, r)
		return
	}
	token, err := s.mintSeed(r, m)
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
		err = s.opts.Audit.Record(audit.Event{Node: m.Name, Address: from, Action: "seed", Result: "granted"})
	}
	if err != nil {
		s.failed(m.Name, from, "seed", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	s.log.Info("seed served", "node", m.Name, "address", from.String())
	send(w, "application/x-cpio", body)
}

func (s *Server) mintSeed(r *http.Request, m machine) (string, error) {
	if err := s.checkSource(r.Context(), m, clientAddr(r)); err != nil {
		return "", err
	}
	n, err := s.node(r.Context(), m.Name)
	if err != nil {
		return "", err
	}
	if ok, _ := n.Installable(s.opts.Now()); ok && s.gone(n) {
		return "", s.gate.Refuse(r.Context(), m.Name, clientAddr(r), imageGone)
	}
	return s.gate.Seed(r.Context(), m.Name, clientAddr(r))
}

// seed is the archive that the boot loader appends to the initramfs.
func (s *Server) seed(m machine, token string) ([]byte, error) {
	b, err := json.Marshal(api.Seed{Node: m.Name, Server: s.opts.TLSURL, CA: string(s.opts.CA), Token: token})
	if err != nil {
		return nil, fmt.Errorf("encoding the seed of node %q: %w", m.Name, err)
	}
	return cpio.Archive(cpio.File{Path: api.SeedPath, Mode: 0o600, Data: b})
}

func (s *Server) serveArtifact(w http.ResponseWriter, r *http.Request, id, name string) {
	image, err := s.opts.Images.Image(id)
	if errors.Is(err, library.ErrUnknown) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		s.artifactError(w, name, err)
		return
	}
	a, ok := image.Manifest.Artifact(name)
	if !ok {
		http.NotFound(w, r)
		return
	}
	f, err := openArtifact(image, a)
	if err != nil {
		s.artifactError(w, name, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (info.Size() != a.Size || !info.Mode().IsRegular()) {
		err = fmt.Errorf("it is not the file of the manifest: %d bytes, mode %v", info.Size(), info.Mode())
	}
	if err != nil {
		s.artifactError(w, name, err)
		return
	}
	h := w.Header()
	h.Set("ETag", `"`+a.SHA256+`"`)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	// No modification time: the digest alone decides what is current.
	http.ServeContent(w, r, "", time.Time{}, f)
}

// openArtifact opens a file of an image through a root, so that not even a
// symbolic link in the folder leads out of it.
func openArtifact(image library.Image, a images.Artifact) (*os.File, error) {
	root, err := os.OpenRoot(image.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(a.Path)
}

func (s *Server) artifactError(w http.ResponseWriter, name string, err error) {
	s.log.Error("artifact not served", "path", name, "error", err)
	http.Error(w, "not available", http.StatusServiceUnavailable)
}
