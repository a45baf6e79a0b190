package source_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/source"
)

// webServer serves one content, in whatever way a test wants.
type webServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func serve(t *testing.T, handle func(n int, w http.ResponseWriter, r *http.Request)) *webServer {
	t.Helper()
	u := &webServer{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		line := r.Method + " " + r.URL.Path
		for _, header := range []string{"Range", "If-Range"} {
			if v := r.Header.Get(header); v != "" {
				line += " " + v
			}
		}
		u.requests = append(u.requests, line)
		n := len(u.requests)
		u.mu.Unlock()
		handle(n, w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *webServer) wantRequests(t *testing.T, want ...string) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if diff := cmp.Diff(want, u.requests); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}
}

var content = bytes.Repeat([]byte("0123456789abcdef"), 20_000)

// whole answers with a file as a good server does.
func whole(w http.ResponseWriter, r *http.Request, data []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cut announces all of a file from an offset and sends less.
func cut(w http.ResponseWriter, data []byte, from, to int) {
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(data[from:to])
}

func pin(u *webServer, data []byte) source.File {
	return source.File{Name: "tool", URL: u.URL + "/tool", SHA256: source.SumBytes(data)}
}

// pauses records how long is waited, and does not wait.
func pauses(list *[]int) func(int) time.Duration {
	return func(failures int) time.Duration {
		*list = append(*list, failures)
		return time.Millisecond
	}
}

func TestHTTPOffline(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) })
	_, err := source.HTTP{Client: u.Client(), Offline: true}.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, pin(u, content))
	if !errors.Is(err, source.ErrOffline) {
		t.Errorf("got %v, want ErrOffline", err)
	}
	u.wantRequests(t)
}

// A connection that breaks costs what was lost, not what was there.
// What an earlier process left is used, whatever the server says to it.
// leave puts an unfinished file into the cache.
func TestHTTPMirrorDown(t *testing.T) {
	u := serve(t, func(int, http.ResponseWriter, *http.Request) {})
	f := pin(u, content)
	u.Close()
	_, err := source.HTTP{Attempts: 2, Backoff: pauses(new([]int))}.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, f)
	if err == nil || !strings.Contains(err.Error(), "connection refused; gave up after 2 attempts: check the network, or name another mirror") ||
		strings.Count(err.Error(), u.URL) != 1 {
		t.Errorf("got %v", err)
	}
}

func TestHTTPRetryAfter(t *testing.T) {
	u := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.Header().Set("Date", "Mon, 23 Nov 2026 00:00:00 GMT")
			w.Header().Set("Retry-After", "Mon, 23 Nov 2026 00:00:01 GMT")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			whole(w, r, content)
		}
	})
	start := time.Now()
	if _, err := (source.HTTP{Client: u.Client(), Backoff: pauses(new([]int))}).Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, pin(u, content)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it came back after %s, asked to wait twice for a second", took)
	}
}

// A server that sends nothing is not waited for.
func TestHTTPStall(t *testing.T) {
	u := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 2 {
			whole(w, r, content)
			return
		}
		if n == 2 {
			cut(w, content, 0, 100_000)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	path, err := source.HTTP{Client: u.Client(), Stall: 100 * time.Millisecond, Backoff: pauses(new([]int))}.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, pin(u, content))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	u.wantRequests(t, "GET /tool", "GET /tool", "GET /tool bytes=100000-")

	_, err = source.HTTP{Client: u.Client(), Stall: 50 * time.Millisecond, Attempts: 1}.Fetch(t.Context(), source.Cache{Dir: t.TempDir()},
		source.File{Name: "n", URL: serve(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).URL, SHA256: source.SumBytes(nil)})
	if err == nil || !strings.Contains(err.Error(), "the server sent nothing for 50ms") {
		t.Errorf("got %v", err)
	}
}

// An interrupted download leaves what it has, for the next one.
// A full disk is said to be one. /dev/full has no room for anything.
// Several processes that want one file fetch it once.
func TestFetchAll(t *testing.T) {
	var running, most atomic.Int32
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		time.Sleep(5 * time.Millisecond)
		running.Add(-1)
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		whole(w, r, []byte(r.URL.Path))
	})
	c := source.Cache{Dir: t.TempDir()}
	h := source.HTTP{Client: u.Client()}
	var sources []source.Source
	for i := range 10 {
		path := fmt.Sprintf("/%d", i)
		sources = append(sources, h.Source(source.File{Name: path, URL: u.URL + path, SHA256: source.SumBytes([]byte(path))}))
	}
	if err := source.FetchAll(t.Context(), c, 2, sources...); err != nil {
		t.Fatal(err)
	}
	if most.Load() > 2 {
		t.Errorf("%d at once, want 2", most.Load())
	}
	missing := h.Source(source.File{Name: "m", URL: u.URL + "/missing", SHA256: source.SumBytes(nil)})
	var status *source.StatusError
	if err := source.FetchAll(t.Context(), c, 2, append(sources, missing)...); !errors.As(err, &status) || status.Code != 404 {
		t.Errorf("got %v, want status 404", err)
	}
}

func TestMirror(t *testing.T) {
	mirrors := map[string]string{
		"https://dl.example.org":         "http://10.0.0.1/all/",
		"https://dl.example.org/release": "http://10.0.0.1/release",
		"https://a.example.org/b/":       "https://c.example.org",
		"registry.example.org":           "http://10.0.0.1:5000/up",
	}
	for address, want := range map[string]string{
		"https://dl.example.org/x/y":         "http://10.0.0.1/all/x/y",
		"https://dl.example.org/release/v1":  "http://10.0.0.1/release/v1",
		"https://dl.example.org/releases/v1": "http://10.0.0.1/all/releases/v1",
		"https://dl.example.org":             "http://10.0.0.1/all",
		"https://dl.example.org.evil/x":      "https://dl.example.org.evil/x",
		"https://a.example.org/b/c":          "https://c.example.org/c",
		"http://dl.example.org/x":            "http://dl.example.org/x",
		"registry.example.org/pause":         "http://10.0.0.1:5000/up/pause",
	} {
		if got := source.Mirror(mirrors, address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

// A mirror is asked in place of upstream, whose address stays the pinned one.
func TestHTTPMirror(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) })
	h := source.HTTP{Client: u.Client(), Mirrors: map[string]string{"https://dl.invalid/v1": u.URL + "/mirror"}}
	path, err := h.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, source.File{Name: "tool", URL: "https://dl.invalid/v1/tool", SHA256: source.SumBytes(content)})
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	u.wantRequests(t, "GET /mirror/tool")
}

// A cache that cannot be used says where and what to do.
func TestCacheUnusable(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) })
	f := pin(u, content)
	fetch := func(c source.Cache) error {
		_, err := source.HTTP{Client: u.Client()}.Fetch(t.Context(), c, f)
		return err
	}
	t.Run("a folder in place of a file", func(t *testing.T) {
		c := source.Cache{Dir: t.TempDir()}
		if err := os.MkdirAll(c.Path(f.SHA256), 0o755); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("using the cache: %q: not a regular file; delete %[1]q, it will be made again", c.Path(f.SHA256))
		if err := fetch(c); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if c.Has(f.SHA256) {
			t.Error("a folder counts as the file")
		}
	})
	t.Run("a file in place of a folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cache")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fetch(source.Cache{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a directory; delete") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not ours", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			// Root may write everywhere, except where the kernel makes the files.
			dir = "/sys/kernel/k8snode"
		}
		err := fetch(source.Cache{Dir: dir})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), fmt.Sprintf("make %q yours, or name another folder with --cache", dir)) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a damaged file", func(t *testing.T) {
		c := source.Cache{Dir: t.TempDir()}
		if err := fetch(c); err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(f.SHA256); err != nil {
			t.Errorf("a good file: %v", err)
		}
		if err := os.WriteFile(c.Path(f.SHA256), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("cached file %s: digest mismatch after 7 bytes: got sha256:%s, want sha256:%s; delete it, it will be made again",
			c.Path(f.SHA256), source.SumBytes([]byte("damaged")), f.SHA256)
		if err := c.Verify(f.SHA256); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}

// Redirects, which every release host uses, keep the range.
func TestHTTPRedirect(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tool" {
			http.Redirect(w, r, "/storage?signature=secret", http.StatusFound)
			return
		}
		whole(w, r, content)
	})
	c := source.Cache{Dir: t.TempDir()}
	f := pin(u, content)
	leave(t, c, f, content[:16])
	path, err := source.HTTP{Client: u.Client()}.Fetch(t.Context(), c, f)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	u.wantRequests(t, "GET /tool bytes=16-", "GET /storage bytes=16-")
}

// The Debian archive may be a folder of this machine.
func TestHTTPFolder(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "pool/p.deb"), content)
	a := source.Archive{Mirror: "file://" + dir}
	c := source.Cache{Dir: t.TempDir()}
	d := source.Deb{Package: "p", Version: "1", Path: "pool/p.deb", SHA256: source.SumBytes(content), Size: int64(len(content))}
	leave(t, c, a.File(d), content[:1000])
	path, err := source.HTTP{}.Fetch(t.Context(), c, a.File(d))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	var status *source.StatusError
	d.Path, d.SHA256 = "pool/q.deb", source.SumBytes(nil)
	if _, err := (source.HTTP{}).Fetch(t.Context(), c, a.File(d)); !errors.As(err, &status) || !status.Gone() {
		t.Errorf("got %v, want status 404", err)
	}
}
