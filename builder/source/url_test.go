package source_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

func TestFindSum(t *testing.T) {
	a, b := source.SumBytes([]byte("a")), source.SumBytes([]byte("b"))
	tests := []struct{ name, text, want, wantErr string }{
		{"alone", a, a, ""},
		{"alone, with a line end", strings.ToUpper(a) + "\r\n", a, ""},
		{"sha256sum", a + "  tool.tgz\n" + b + "  other.tgz\n", a, ""},
		{"sha256sum of a binary, with a folder", b + " *other\n" + a + " *./release/tool.tgz\n", a, ""},
		{"BSD", "SHA256 (other) = " + b + "\nSHA256 (tool.tgz) = " + a + "\n", a, ""},
		{"with headings, as etcd has", "### Downloads\n" + a + "  tool.tgz\n", a, ""},
		{"named twice, alike", a + "  tool.tgz\n" + a + "  x/tool.tgz\n", a, ""},
		{"named twice", a + "  tool.tgz\n" + b + "  x/tool.tgz\n", "", "it has several digests for tool.tgz"},
		{"not named", a + "  c\n" + b + "  a\n", "", "it has no digest of tool.tgz, but of a, c"},
		{"many others", strings.Repeat(a+"  x\n", 2) + a + "  1\n" + a + "  2\n" + a + "  3\n" + a + "  4\n" + a + "  5\n", "", "it has no digest of tool.tgz, but of 1, 2, 3, 4, 5 and 1 more"},
		{"two alone", a + "\n" + b + "\n", "", "it has no digest of tool.tgz, but of files without a name"},
		{"a page", "<html>Not the file</html>", "", "it has no SHA-256 digest"},
		{"another algorithm", strings.Repeat("0", 128) + "  tool.tgz", "", "it has no SHA-256 digest"},
		{"empty", "", "", "it has no SHA-256 digest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := source.FindSum(tt.text, "tool.tgz")
			if got != tt.want || (err == nil) != (tt.wantErr == "") || (err != nil && err.Error() != tt.wantErr) {
				t.Errorf("got %q, %v\nwant %q, %s", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	sum := source.SumBytes(content)
	u := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/SHA256SUMS":
			if n == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			_, _ = w.Write([]byte(sum + "  a.tgz\n"))
		case "/v1/a.tgz", "/v1/b":
			whole(w, r, content)
		case "/v1/shy":
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			http.NotFound(w, r)
		}
	})
	h := source.HTTP{Client: u.Client(), Backoff: pauses(new([]int)), Mirrors: map[string]string{"https://dl.invalid": u.URL}}
	got, err := h.Resolve(t.Context(), []images.Download{
		{Name: "one", URL: "https://dl.invalid/v1/a.tgz", SHA256URL: "https://dl.invalid/v1/SHA256SUMS", Member: "one"},
		{Name: "two", URL: "https://dl.invalid/v1/a.tgz", SHA256URL: "https://dl.invalid/v1/SHA256SUMS", Member: "two"},
		{Name: "b", URL: "https://dl.invalid/v1/b", SHA256: sum},
		{Name: "shy", URL: "https://dl.invalid/v1/shy", SHA256: sum},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := source.File{Name: "a.tgz", URL: "https://dl.invalid/v1/a.tgz", SHA256: sum, Size: int64(len(content))}
	want := []source.File{a, a, {Name: "b", URL: "https://dl.invalid/v1/b", SHA256: sum, Size: int64(len(content))}, {Name: "shy", URL: "https://dl.invalid/v1/shy", SHA256: sum}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	u.wantRequests(t, "GET /v1/SHA256SUMS", "GET /v1/SHA256SUMS", "HEAD /v1/a.tgz", "HEAD /v1/b", "HEAD /v1/shy")
}

// All that cannot be locked is said at once, each address once.
func TestResolveRefuses(t *testing.T) {
	u := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			_, _ = w.Write([]byte("<html>"))
			return
		}
		http.NotFound(w, r)
	})
	h := source.HTTP{Client: u.Client(), Backoff: pauses(new([]int))}
	_, err := h.Resolve(t.Context(), []images.Download{
		{Name: "a", URL: u.URL + "/gone.tgz", SHA256: source.SumBytes(nil), Member: "a"},
		{Name: "b", URL: u.URL + "/gone.tgz", SHA256: source.SumBytes(nil), Member: "b"},
		{Name: "c", URL: u.URL + "/c", SHA256URL: u.URL + "/page"},
		{Name: "d", URL: u.URL + "/d", SHA256URL: u.URL + "/d.sha256"},
	})
	var status *source.StatusError
	if !errors.As(err, &status) || !status.Gone() {
		t.Fatalf("got %v, want a StatusError", err)
	}
	want := `locking a: getting URL/gone.tgz: status 404
locking c: reading URL/page: it has no SHA-256 digest
locking d: getting URL/d.sha256: status 404`
	if got := strings.ReplaceAll(err.Error(), u.URL, "URL"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if _, err := (source.HTTP{Offline: true}).Resolve(t.Context(), []images.Download{{Name: "a", URL: u.URL + "/a", SHA256URL: u.URL + "/s"}}); !errors.Is(err, source.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}

func FuzzFindSum(f *testing.F) {
	f.Add(source.SumBytes(nil), "x")
	f.Add(source.SumBytes(nil)+"  x\nSHA256 (y) = "+source.SumBytes(nil), "y")
	f.Fuzz(func(t *testing.T, text, name string) {
		digest, err := source.FindSum(text, name)
		if err == nil && (len(digest) != 64 || !strings.Contains(strings.ToLower(text), digest)) {
			t.Errorf("found %q", digest)
		}
	})
}
