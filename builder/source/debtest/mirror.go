package debtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/openpgp"           //nolint:staticcheck // frozen, and enough to sign for a test
	"golang.org/x/crypto/openpgp/clearsign" //nolint:staticcheck // the same
	"golang.org/x/crypto/openpgp/packet"    //nolint:staticcheck // the same
)

// A Mirror is a Debian archive.
type Mirror struct {
	key *openpgp.Entity

	mu       sync.Mutex
	suites   map[string][]Package
	files    map[string][]byte
	requests []string
}

// New returns an empty archive with a new key.
func New() (*Mirror, error) {
	key, err := openpgp.NewEntity("debtest", "", "debtest@example.org", &packet.Config{RSABits: 2048})
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return &Mirror{key: key, suites: map[string][]Package{}}, nil
}

// Keyring returns the public key, in the form of apt's keyrings.
func (m *Mirror) Keyring() ([]byte, error) {
	var b bytes.Buffer
	if err := m.key.Serialize(&b); err != nil {
		return nil, fmt.Errorf("writing the key: %w", err)
	}
	return b.Bytes(), nil
}

// Set makes a suite offer these packages and no others.
func (m *Mirror) Set(suite string, packages ...Package) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suites[suite] = slices.Clone(packages)
	m.files = map[string][]byte{}
	for name, list := range m.suites {
		if err := m.publish(name, list); err != nil {
			return fmt.Errorf("publishing %s: %w", name, err)
		}
	}
	return nil
}

func (m *Mirror) publish(suite string, packages []Package) error {
	var index bytes.Buffer
	for _, p := range packages {
		deb, err := p.Deb()
		if err != nil {
			return err
		}
		path := p.Path()
		m.files[path] = deb
		fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %s\n\n", p.control(), path, len(deb), sum(deb))
	}
	const list = "main/binary-amd64/Packages"
	release := fmt.Sprintf("Origin: debtest\nSuite: %[1]s\nCodename: %[1]s\nArchitectures: amd64\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %[2]s %[3]d %[4]s\n",
		suite, sum(index.Bytes()), index.Len(), list)
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, m.key.PrivateKey, nil)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(release)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	signed.WriteByte('\n')
	m.files["dists/"+suite+"/InRelease"] = signed.Bytes()
	m.files["dists/"+suite+"/"+list] = index.Bytes()
	return nil
}

// Requests returns the paths that were asked for since the last call.
func (m *Mirror) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	requests := m.requests
	m.requests = nil
	return requests
}

// ServeHTTP serves the archive below /debian/.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := strings.CutPrefix(r.URL.Path, "/debian/")
	m.mu.Lock()
	content, ok := m.files[path]
	m.requests = append(m.requests, path)
	m.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write(content) // a client that goes away is its own business
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
