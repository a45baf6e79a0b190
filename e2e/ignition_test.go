package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/ignition/stub"
)

// ignitionWait is longer than Ignition takes for anything but waiting.
const ignitionWait = time.Minute

// An initramfs is that of the image, unpacked, with its Ignition.
type initramfs struct {
	t    *testing.T
	root string
}

// A configServer is a server of configs, by TLS: what it answers, a test says.
type configServer struct {
	*httptest.Server
	ca string

	mu       sync.Mutex
	requests []string
}

// seen are the requests: path, and whether a token came with it.
func (s *configServer) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.requests, ", ")
}

func serveConfigs(t *testing.T, answer http.HandlerFunc) *configServer {
	t.Helper()
	opts := pki.Options{Now: time.Now(), Rand: rand.Reader}
	b, err := pki.New(opts)
	must(t, err)
	pair, err := b.ProvisionServer(netip.MustParseAddr("127.0.0.1"), opts)
	must(t, err)
	own, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key))
	must(t, err)
	s := &configServer{ca: b.Provision.Certificate}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		request := r.URL.Path
		if r.Header.Get("Authorization") != "" {
			request += " with a token"
		}
		s.requests = append(s.requests, request)
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// stub is what the installer leaves on a disk.
func (s *configServer) stub(t *testing.T) string {
	t.Helper()
	text, err := stub.Stub(stub.Options{URL: s.URL + "/v1/config", CA: s.ca, Token: "dG9rZW4"})
	must(t, err)
	return string(text)
}

func newInitramfs(t *testing.T) initramfs {
	t.Helper()
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	root := filepath.Join(t.TempDir(), "root")
	must(t, os.MkdirAll(root, 0o755))
	run(t, "sh", "-c", `zstd -dcq "$1" | cpio --extract --make-directories --quiet --directory "$2"`, "sh", filepath.Join(*image, "pxe", "initrd.img"), root)
	return initramfs{t, root}
}

// A fetch is a run of Ignition: what it was given, and what it made of that.
type fetch struct {
	// Files are those of the initramfs, by path. Cmdline is the kernel's.
	files   map[string]string
	cmdline string
	// limit is when it is stopped; ignitionWait unless set.
	limit time.Duration
}

// result is how a run ended.
type result struct {
	// config is what Ignition goes on with; output what it says.
	config, output string
	err            error
}

// run has Ignition fetch its config, in a root of its own with the host's loopback.
func (i initramfs) run(f fetch, stages ...string) result {
	i.t.Helper()
	if f.limit == 0 {
		f.limit = ignitionWait
	}
	dir := i.t.TempDir()
	for path, content := range f.files {
		write(i.t, filepath.Join(dir, path), content)
	}
	write(i.t, filepath.Join(dir, "cmdline"), "ignition.firstboot "+f.cmdline+"\n")
	const script = `
		set -e
		mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/sysroot"
		mount --bind "$2/cmdline" "$1/proc/cmdline"
		mkdir -p "$1/sysroot/etc"
		[ ! -d "$2/run" ] || cp -r "$2/run/." "$1/run/"
		out=$2 root=$1
		shift 2
		for stage in "$@"; do
			code=0
			chroot "$root" /usr/bin/ignition --root=/sysroot --platform=metal --stage="$stage" || code=$?
			[ ! -e "$root/run/ignition.json" ] || cp "$root/run/ignition.json" "$out/ignition.json"
			[ "$code" = 0 ] || exit "$code"
		done`
	if len(stages) == 0 {
		stages = []string{"fetch"}
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), f.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", script, "sh", i.root, dir}, stages...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	config, readErr := os.ReadFile(filepath.Join(dir, "ignition.json"))
	if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
		i.t.Fatal(readErr)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return result{string(config), string(out), err}
}

// hostname returns the name in a config that Ignition keeps, "" if it has none.
func (r result) hostname(t *testing.T) string {
	t.Helper()
	var c struct {
		Storage struct {
			Files []struct {
				Contents struct{ Source string }
			}
		}
	}
	if r.config == "" {
		return ""
	}
	must(t, json.Unmarshal([]byte(r.config), &c))
	if len(c.Storage.Files) == 0 {
		return ""
	}
	return strings.TrimPrefix(c.Storage.Files[0].Contents.Source, "data:,")
}

// nodeConfig is that of a node: all of it is a name.
const nodeConfig = `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,cp1"}}]}}`

// Where the image's Ignition looks for configs: see its recipe.
const (
	configDir  = "/run/k8snode/ignition"
	userConfig = configDir + "/user.ign"
)

// TestIgnition has the Ignition of the image fetch configs from a server: what the
// server must never do, because Ignition goes on, or gives up, when it does. Each
// case is a fact that package provision is built upon.
func TestIgnition(t *testing.T) {
	i := newInitramfs(t)
	good := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nodeConfig) }

	t.Run("a stub becomes the node's config", func(t *testing.T) {
		s := serveConfigs(t, good)
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err != nil || r.hostname(t) != "cp1" || s.seen() != "/v1/config with a token" {
			t.Errorf("%v, hostname %q, requests %s\n%s", r.err, r.hostname(t), s.seen(), r.output)
		}
		// The stub is gone, and its token with it.
		if strings.Contains(r.config, "dG9rZW4") {
			t.Errorf("the token is in the config: %s", r.config)
		}
		if strings.Contains(r.output, "dG9rZW4") {
			t.Errorf("the token is in what Ignition says:\n%s", r.output)
		}
	})

	t.Run("an empty answer is an empty config", func(t *testing.T) {
		s := serveConfigs(t, func(http.ResponseWriter, *http.Request) {})
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err != nil || s.seen() == "" || r.config == "" || r.hostname(t) != "" {
			t.Errorf("Ignition does not go on with nothing: %v, %s\n%s", r.err, r.config, r.output)
		}
	})

	t.Run("no content is an empty config", func(t *testing.T) {
		s := serveConfigs(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err != nil || s.seen() == "" || r.config == "" || r.hostname(t) != "" {
			t.Errorf("Ignition does not go on with nothing: %v, %s\n%s", r.err, r.config, r.output)
		}
	})

	for _, status := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusTooManyRequests} {
		t.Run(fmt.Sprintf("%d ends it", status), func(t *testing.T) {
			s := serveConfigs(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
			if r.err == nil || errors.Is(r.err, context.DeadlineExceeded) || s.seen() != "/v1/config with a token" {
				t.Errorf("%v after %s\n%s", r.err, s.seen(), r.output)
			}
		})
	}

	t.Run("503 is asked again", func(t *testing.T) {
		var mu sync.Mutex
		left := 3
		s := serveConfigs(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if left--; left >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			good(w, r)
		})
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err != nil || r.hostname(t) != "cp1" || strings.Count(s.seen(), "with a token") != 4 {
			t.Errorf("%v, hostname %q after %s\n%s", r.err, r.hostname(t), s.seen(), r.output)
		}
	})

	t.Run("a redirect loses the token", func(t *testing.T) {
		s := serveConfigs(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/config" {
				http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
				return
			}
			good(w, r)
		})
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err != nil || s.seen() != "/v1/config with a token, /moved" {
			t.Errorf("%v after %s\n%s", r.err, s.seen(), r.output)
		}
	})

	t.Run("authorities of base.d are not used to fetch", func(t *testing.T) {
		s := serveConfigs(t, good)
		withCA := func(ca string) string {
			return `{"ignition":{"version":"3.4.0","security":{"tls":{"certificateAuthorities":[{"source":` + dataURL(t, ca) + `}]}}}}`
		}
		bare := fmt.Sprintf(`{"ignition":{"version":"3.4.0","config":{"replace":{"source":%q}}}}`, s.URL+"/v1/config")
		r := i.with(t).run(fetch{
			files: map[string]string{userConfig: bare, configDir + "/base.d/10-ca.ign": withCA(s.ca)},
			limit: 10 * time.Second,
		})
		if r.err == nil || s.seen() != "" || !strings.Contains(r.output, "certificate signed by unknown authority") {
			t.Errorf("%v, requests %q\n%s", r.err, s.seen(), r.output)
		}
	})

	t.Run("the command line is before the stub", func(t *testing.T) {
		s := serveConfigs(t, good)
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Replace(nodeConfig, "cp1", "elsewhere", 1))
		}))
		t.Cleanup(other.Close)
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}, cmdline: "ignition.config.url=" + other.URL})
		if r.err != nil || s.seen() != "" || r.hostname(t) != "elsewhere" {
			t.Errorf("%v, hostname %q, requests %q\n%s", r.err, r.hostname(t), s.seen(), r.output)
		}
	})

	t.Run("the authority of the stub is gone in later stages", func(t *testing.T) {
		var s *configServer
		s = serveConfigs(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/file" {
				fmt.Fprint(w, "content")
				return
			}
			fmt.Fprintf(w, `{"ignition":{"version":"3.4.0","timeouts":{"httpTotal":5}},"storage":{"files":[{"path":"/etc/motd","contents":{"source":%q}}]}}`, s.URL+"/file")
		})
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}}, "fetch", "files")
		if r.err == nil || s.seen() != "/v1/config with a token" || !strings.Contains(r.output, "certificate signed by unknown authority") {
			t.Errorf("%v, requests %q\n%s", r.err, s.seen(), r.output)
		}
	})

	t.Run("a stage that fails prints the whole config", func(t *testing.T) {
		secret := strings.Replace(nodeConfig, "data:,cp1", "http://127.0.0.1:1/none", 1)
		secret = strings.Replace(secret, `"version":"3.4.0"`, `"version":"3.4.0","timeouts":{"httpTotal":1}`, 1)
		secret = strings.Replace(secret, `"files":[`, `"files":[{"path":"/etc/key","contents":{"source":"data:,hunter2"}},`, 1)
		r := i.with(t).run(fetch{files: map[string]string{userConfig: secret}}, "fetch", "files")
		if r.err == nil || !strings.Contains(r.output, "hunter2") {
			t.Errorf("%v\n%s", r.err, r.output)
		}
	})

	t.Run("a newer specification is refused", func(t *testing.T) {
		s := serveConfigs(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ignition":{"version":"3.9.0"}}`) })
		r := i.with(t).run(fetch{files: map[string]string{userConfig: s.stub(t)}})
		if r.err == nil || !bytes.Contains([]byte(r.output), []byte("unsupported config version")) {
			t.Errorf("%v\n%s", r.err, r.output)
		}
	})
}

func (i initramfs) with(t *testing.T) initramfs { return initramfs{t, i.root} }

// dataURL is a JSON string.
func dataURL(t *testing.T, content string) string {
	t.Helper()
	var escaped strings.Builder
	for _, b := range []byte(content) {
		fmt.Fprintf(&escaped, "%%%02X", b)
	}
	text, err := json.Marshal("data:," + escaped.String())
	must(t, err)
	return string(text)
}
