package source_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/source"
)

func wantContent(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d other bytes, want %d", len(got), len(want))
	}
}

func wantNoPartial(t *testing.T, c source.Cache, f source.File) {
	t.Helper()
	if info, err := os.Stat(source.Partial(c, f)); err == nil && info.Size() > 0 {
		t.Errorf("%d unfinished bytes are left", info.Size())
	}
}

func TestHTTPFetch(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) })
	c := source.Cache{Dir: t.TempDir()}
	f := pin(u, content)
	var progress []int64
	var total int64
	h := source.HTTP{Client: u.Client(), Progress: func(name string, done, of int64) {
		if name != "tool" {
			t.Errorf("progress of %q", name)
		}
		progress, total = append(progress, done), of
	}}
	path, err := h.Fetch(t.Context(), c, f)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	if len(progress) == 0 || progress[len(progress)-1] != int64(len(content)) || total != int64(len(content)) {
		t.Errorf("progress %v of %d", progress, total)
	}
	// What is there is not asked for, also without a network.
	if again, err := (source.HTTP{Offline: true}).Fetch(t.Context(), c, f); again != path || err != nil {
		t.Errorf("again: %s, %v", again, err)
	}
	u.wantRequests(t, "GET /tool")
	wantNoPartial(t, c, f)
}

func TestHTTPResume(t *testing.T) {
	u := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		switch n {
		case 1:
			cut(w, content, 0, 100_000)
		case 2:
			cut(w, content, 100_000, 100_010)
		default:
			whole(w, r, content)
		}
	})
	c := source.Cache{Dir: t.TempDir()}
	var waited []int
	path, err := source.HTTP{Client: u.Client(), Backoff: pauses(&waited)}.Fetch(t.Context(), c, pin(u, content))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	u.wantRequests(t, "GET /tool", `GET /tool bytes=100000- "v1"`, `GET /tool bytes=100010- "v1"`)
	// The first attempt brought enough not to count as a failure.
	if diff := cmp.Diff([]int{1, 2}, waited); diff != "" {
		t.Errorf("pauses: -want +got:\n%s", diff)
	}
}

func TestHTTPResumeEarlier(t *testing.T) {
	half := content[:len(content)/2]
	tests := []struct {
		name    string
		partial []byte
		size    int64
		handle  func(n int, w http.ResponseWriter, r *http.Request)
		want    []string
	}{
		{"it has ranges", half, 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) }, []string{"GET /tool bytes=160000-"}},
		{"it has no ranges", half, 0, func(_ int, w http.ResponseWriter, _ *http.Request) { cut(w, content, 0, len(content)) }, []string{"GET /tool bytes=160000-"}},
		{"another range", half, 0, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				cut(w, content, 5, len(content))
				return
			}
			whole(w, r, content)
		}, []string{"GET /tool bytes=160000-", "GET /tool"}},
		{"what is there is of another file", bytes.Repeat([]byte("x"), 1000), 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) },
			[]string{"GET /tool bytes=1000-", "GET /tool"}},
		{"what is there is longer", append(bytes.Clone(content), "more"...), 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) },
			[]string{"GET /tool bytes=320004-", "GET /tool"}},
		{"it is all there", content, int64(len(content)), nil, nil},
		{"it is all there, the size is not known", content, 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) }, []string{"GET /tool bytes=320000-"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := serve(t, tt.handle)
			c := source.Cache{Dir: t.TempDir()}
			f := pin(u, content)
			f.Size = tt.size
			leave(t, c, f, tt.partial)
			var waited []int
			path, err := source.HTTP{Client: u.Client(), Backoff: pauses(&waited)}.Fetch(t.Context(), c, f)
			if err != nil {
				t.Fatal(err)
			}
			wantContent(t, path, content)
			u.wantRequests(t, tt.want...)
			wantNoPartial(t, c, f)
		})
	}
}

func leave(t *testing.T, c source.Cache, f source.File, data []byte) {
	t.Helper()
	path := source.Partial(c, f)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHTTPFails(t *testing.T) {
	other := bytes.Repeat([]byte("other"), len(content)/5)
	tests := []struct {
		name     string
		partial  []byte
		size     int64
		handle   func(n int, w http.ResponseWriter, r *http.Request)
		requests int
		want     string // with URL for the server's
		gone     bool
		digest   bool
	}{
		{"not found", nil, 0, func(_ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, 1,
			"fetching tool: getting URL/tool: status 404", true, false},
		{"gone", nil, 0, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, 1,
			"fetching tool: getting URL/tool: status 410", true, false},
		{"forbidden", nil, 0, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 1,
			"fetching tool: getting URL/tool: status 403", false, false},
		{"broken for good", nil, 0, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 3,
			"fetching tool: getting URL/tool: status 502; gave up after 3 attempts: check the network, or name another mirror in the recipe", false, false},
		{"another file", nil, 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, other) }, 1,
			"fetching tool: URL/tool: digest mismatch after 320000 bytes: got sha256:" + source.SumBytes(other) + ", want sha256:" + source.SumBytes(content) +
				"; the server has another file than the one that was pinned: if upstream replaced it, correct the digest or lock again", false, true},
		{"another file, half of ours is there", content[:500], 0, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, other) }, 2,
			"fetching tool: URL/tool: digest mismatch after 320000 bytes: got sha256:" + source.SumBytes(other) + ", want sha256:" + source.SumBytes(content) +
				"; the server has another file than the one that was pinned: if upstream replaced it, correct the digest or lock again", false, true},
		{"another size", nil, 320000, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content[:1000]) }, 1,
			"fetching tool: URL/tool: wrong size: got 1000 bytes, want 320000 with sha256:" + source.SumBytes(content) +
				"; the server has another file than the one that was pinned: if upstream replaced it, correct the digest or lock again", false, true},
		{"without an end", nil, 320000, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "chunked")
			for range 10 {
				_, _ = w.Write(content)
			}
		}, 1, "wrong size: got ", false, true},
		{"always cut off", nil, 0, func(_ int, w http.ResponseWriter, _ *http.Request) { cut(w, content, 0, 10) }, 3,
			"fetching tool: getting URL/tool: the connection ended after 10 of 320000 bytes; gave up after 3 attempts: check the network, or name another mirror in the recipe", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := serve(t, tt.handle)
			c := source.Cache{Dir: t.TempDir()}
			f := pin(u, content)
			f.Size = tt.size
			if tt.partial != nil {
				leave(t, c, f, tt.partial)
			}
			var waited []int
			_, err := source.HTTP{Client: u.Client(), Attempts: 3, Backoff: pauses(&waited)}.Fetch(t.Context(), c, f)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), u.URL, "URL"); got != tt.want && (tt.name != "without an end" || !strings.Contains(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var status *source.StatusError
			if got := errors.As(err, &status) && status.Gone(); got != tt.gone {
				t.Errorf("gone: %t", got)
			}
			if got := errors.As(err, new(*source.DigestError)); got != tt.digest {
				t.Errorf("a DigestError: %t", got)
			}
			if len(u.requests) != tt.requests {
				t.Errorf("%d requests, want %d: %v", len(u.requests), tt.requests, u.requests)
			}
			if c.Has(f.SHA256) {
				t.Error("it is in the cache")
			}
			if tt.digest {
				wantNoPartial(t, c, f)
			}
		})
	}
}

func TestHTTPCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by a signal")
	u := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			whole(w, r, content)
			return
		}
		cut(w, content, 0, 100_000)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c := source.Cache{Dir: t.TempDir()}
	h := source.HTTP{Client: u.Client(), Progress: func(_ string, done, _ int64) {
		if done == 100_000 {
			cancel(stop)
		}
	}}
	if _, err := h.Fetch(ctx, c, pin(u, content)); !errors.Is(err, stop) {
		t.Fatalf("got %v, want %v", err, stop)
	}
	path, err := h.Fetch(t.Context(), c, pin(u, content))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, content)
	u.wantRequests(t, "GET /tool", "GET /tool bytes=100000-")
}

func TestHTTPDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, content) })
	c := source.Cache{Dir: t.TempDir()}
	f := pin(u, content)
	partial := source.Partial(c, f)
	if err := os.MkdirAll(filepath.Dir(partial), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", partial); err != nil {
		t.Fatal(err)
	}
	_, err := source.HTTP{Client: u.Client(), Backoff: pauses(new([]int))}.Fetch(t.Context(), c, f)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), "make room and try again: the 0 bytes that are there are kept") {
		t.Errorf("got %v", err)
	}
	u.wantRequests(t, "GET /tool")
}

func TestHTTPTogether(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		whole(w, r, content)
	})
	c := source.Cache{Dir: t.TempDir()}
	var sources []source.Source
	for range 8 {
		sources = append(sources, source.HTTP{Client: u.Client()}.Source(pin(u, content)))
	}
	if err := source.FetchAll(t.Context(), c, 8, sources...); err != nil {
		t.Fatal(err)
	}
	u.wantRequests(t, "GET /tool")
	if sources[0].Name() != "tool" {
		t.Errorf("name %q", sources[0].Name())
	}
	wantContent(t, c.Path(source.SumBytes(content)), content)
}
