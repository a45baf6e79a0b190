package metrics

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8snode/k8snode/provision/api"
)

// Sides of the server.
const (
	sideBoot     = "boot"
	sideMachine  = "machine"
	sideOperator = "operator"
)

// artifacts is the handler whose bytes are counted.
const artifacts = "artifacts"

// Boot counts the requests of boot loaders.
func (m *Metrics) Boot(h http.Handler) http.Handler {
	return m.count(sideBoot, h, func(path string) string {
		switch {
		case strings.HasPrefix(path, "/artifacts/"):
			return artifacts
		case strings.HasPrefix(path, "/seed/"):
			return "seed"
		case strings.HasSuffix(path, ".efi"):
			return "loader"
		case path == "/boot.ipxe", strings.HasPrefix(path, "/boot/"):
			return "script"
		}
		return other
	})
}

// Machine counts the requests of machines.
func (m *Metrics) Machine(h http.Handler) http.Handler {
	return m.count(sideMachine, h, func(path string) string {
		switch path {
		case api.PathInstall:
			return "install"
		case api.PathConfig:
			return "config"
		case api.PathReport:
			return "report"
		case api.PathRenew:
			return "renew"
		case api.PathBoot:
			return "boot"
		case api.PathSeed:
			return "seed"
		}
		return other
	})
}

// Operator counts the requests of operators.
func (m *Metrics) Operator(h http.Handler) http.Handler {
	return m.count(sideOperator, h, func(path string) string {
		for _, prefix := range []string{"api", "assets", "metrics", "login", "logout"} {
			if rest, ok := strings.CutPrefix(path, "/"+prefix); ok && (rest == "" || rest[0] == '/') {
				return prefix
			}
		}
		return "ui"
	})
}

func (m *Metrics) count(side string, h http.Handler, handlerOf func(path string) string) http.Handler {
	inFlight := m.inFlight.WithLabelValues(side)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := handlerOf(r.URL.Path)
		inFlight.Inc()
		a := &answer{ResponseWriter: w}
		if handler == artifacts {
			a.bytes = m.artifactBytes
		}
		began := m.now()
		// Also of a handler that panics.
		defer func() {
			inFlight.Dec()
			m.durations.WithLabelValues(side, handler, a.class()).Observe(m.now().Sub(began).Seconds())
		}()
		h.ServeHTTP(a, r)
	})
}

// answer remembers what is sent.
type answer struct {
	http.ResponseWriter
	status int
	// bytes counts what is sent; nil counts nothing.
	bytes prometheus.Counter
}

// class is the first digit of the status, so that there are few.
func (a *answer) class() string {
	if a.status == 0 {
		return "2xx"
	}
	return strconv.Itoa(a.status/100) + "xx"
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.sent(int64(n))
	return n, err
}

func (a *answer) sent(n int64) {
	if a.bytes != nil {
		a.bytes.Add(float64(n))
	}
}

// piece is how much of a file is sent before it is counted, so that a long
// transfer is seen while it lasts.
const piece = 16 << 20

// ReadFrom implements [io.ReaderFrom]: without it a file would be copied through
// the memory of the server. The kernel takes a part of a file, and nothing that
// is wrapped more than once.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	whole, ok := r.(*io.LimitedReader)
	if !ok {
		n, err := io.Copy(a.ResponseWriter, r)
		a.sent(n)
		return n, err
	}
	var total int64
	for whole.N > 0 {
		part := io.LimitedReader{R: whole.R, N: min(piece, whole.N)}
		n, err := io.Copy(a.ResponseWriter, &part)
		a.sent(n)
		total += n
		whole.N -= n
		if err != nil || part.N > 0 {
			return total, err
		}
	}
	return total, nil
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
