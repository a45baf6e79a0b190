package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
)

//go:embed assets
var assetFS embed.FS

// assets are the files of the pages, by name.
type assets map[string]asset

type asset struct {
	content     []byte
	contentType string
	// version is a part of its digest: another content has another URL.
	version string
}

func newAssets() (assets, error) {
	types := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	entries, err := fs.ReadDir(assetFS, "assets")
	if err != nil {
		return nil, fmt.Errorf("reading the files of the web interface: %w", err)
	}
	files := make(assets)
	for _, e := range entries {
		content, err := fs.ReadFile(assetFS, path.Join("assets", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the files of the web interface: %w", err)
		}
		sum := sha256.Sum256(content)
		files[e.Name()] = asset{content, types[path.Ext(e.Name())], hex.EncodeToString(sum[:8])}
	}
	return files, nil
}

// url is the URL of a file, with its version.
func (a assets) url(name string) (string, error) {
	file, ok := a[name]
	if !ok {
		return "", fmt.Errorf("internal error: there is no file %q", name)
	}
	return AssetsPrefix + name + "?v=" + file.version, nil
}

func (a assets) serve(w http.ResponseWriter, r *http.Request) {
	protect(w)
	file, ok := a[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.contentType)
	h.Set("Content-Length", strconv.Itoa(len(file.content)))
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == file.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	// The reader is gone if this fails; it asks again.
	_, _ = w.Write(file.content)
}

// protect sets what keeps other sites and injected text out of a page. There is
// no Strict-Transport-Security: boot loaders are served by plain HTTP, on another
// port of the same host.
func protect(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types k8snode")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}
