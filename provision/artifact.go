package provision

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

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
	switch {
	case name == images.ManifestFile:
		serveText(w, r, "application/json", image.Text)
		return
	case name == images.SignatureFile && len(image.Signature) > 0:
		serveText(w, r, "text/plain; charset=utf-8", image.Signature)
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
	if err := s.witness.check(f, filepath.Join(image.Dir, a.Path), a); err != nil {
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

// serveText serves what says of an image what it is, and who does. It is asked
// for anew each time: an image may be signed again, by another key.
func serveText(w http.ResponseWriter, r *http.Request, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
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
