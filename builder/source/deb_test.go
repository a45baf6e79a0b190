package source_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/source"
)

func TestParsePackages(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	text := `Package: zlib1g
Source: zlib
Version: 1:1.3
Architecture: amd64
Essential: yes
Depends: libc6 (>= 2.14),
 libother
Description: a library
 of many words
Filename: pool/main/z/zlib1g.deb
Size: 42
MD5sum: 0
SHA256: ` + sum + `

`
	got, err := source.ParsePackages(strings.NewReader(text + text))
	if err != nil {
		t.Fatal(err)
	}
	want := []source.Deb{{
		Package: "zlib1g", Version: "1:1.3", Architecture: "amd64", Path: "pool/main/z/zlib1g.deb", Size: 42, SHA256: sum,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	_, err = source.ParsePackages(strings.NewReader("Package: x\nVersion: 1\n"))
	if err == nil || err.Error() != "reading package records: x has no SHA256 or Filename" {
		t.Errorf("error %v", err)
	}
}

func TestFetchDeb(t *testing.T) {
	content := "not really a package"
	failures := 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/debian/pool/p.deb":
			http.NotFound(w, r)
		case failures > 0:
			failures--
			w.WriteHeader(http.StatusBadGateway)
		default:
			_, _ = w.Write([]byte(content))
		}
	}))
	defer server.Close()
	a := source.Archive{Mirror: server.URL + "/debian"}
	c := source.Cache{Dir: t.TempDir()}

	// A failure that passes is tried again.
	path, err := a.Fetch(t.Context(), c, server.Client(), source.Deb{Package: "p", Path: "pool/p.deb", SHA256: source.SumBytes([]byte(content))})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != content {
		t.Errorf("got %q", b)
	}
	// A package that is gone is not.
	_, err = a.Fetch(t.Context(), c, server.Client(), source.Deb{Package: "q", Path: "pool/q.deb", SHA256: source.SumBytes([]byte("q"))})
	var status *source.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("error %v, want a StatusError with 404", err)
	}
	// A mirror that serves something else is refused.
	_, err = a.Fetch(t.Context(), c, server.Client(), source.Deb{Package: "p", Path: "pool/p.deb", SHA256: source.SumBytes([]byte("r"))})
	if !errors.As(err, new(*source.DigestError)) {
		t.Errorf("error %v, want a DigestError", err)
	}
}

func TestLookTools(t *testing.T) {
	if err := source.LookTools("sh"); err != nil {
		t.Error(err)
	}
	err := source.LookTools("sh", "no-such-tool", "nor-this")
	if !errors.Is(err, source.ErrMissingTool) || err.Error() != "missing host tool: no-such-tool, nor-this; run scripts/host-packages.sh" {
		t.Errorf("error %v", err)
	}
}
