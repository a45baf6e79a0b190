package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/library"
)

// A checker is a backend that is content with what the API promises, and fails
// the test with all else.
type checker struct {
	t     *testing.T
	calls int
}

func (c *checker) Nodes(context.Context) ([]admin.Node, error)         { return nil, nil }
func (c *checker) Strangers(context.Context) ([]admin.Stranger, error) { return nil, nil }
func (c *checker) Disarm(context.Context, string) (admin.Node, error)  { return admin.Node{}, nil }
func (c *checker) Release(context.Context, string) (admin.Node, error) { return admin.Node{}, nil }
func (c *checker) Images(context.Context) ([]admin.Image, error)       { return nil, nil }
func (c *checker) Commit(context.Context, string) error                { return nil }
func (c *checker) Activate(context.Context, string) error              { return nil }
func (c *checker) Remove(context.Context, string) error                { return nil }
func (c *checker) Begin(context.Context, library.Offer) (library.Upload, error) {
	return library.Upload{}, nil
}

func (c *checker) Arm(_ context.Context, node string, opts admin.ArmOptions) (admin.Node, error) {
	c.called(node)
	if strings.ContainsFunc(opts.Transaction, func(r rune) bool { return r < 'a' || r > 'z' }) {
		c.t.Errorf("a window is opened for a transaction %q", opts.Transaction)
	}
	return admin.Node{Name: node}, nil
}

func (c *checker) Seed(_ context.Context, node string) (admin.InstallSeed, error) {
	c.called(node)
	return admin.InstallSeed{}, nil
}

func (c *checker) Hold(_ context.Context, node, why string) (admin.Node, error) {
	c.called(node)
	if why == "" || len(why) > 200 || strings.ContainsFunc(why, func(r rune) bool { return !unicode.IsPrint(r) }) {
		c.t.Errorf("a node is held for %q", why)
	}
	return admin.Node{Name: node, HeldFor: why}, nil
}

func (c *checker) Append(_ context.Context, id, path string, offset int64, content io.Reader) (int64, error) {
	c.called(id)
	if path == "" || offset < 0 {
		c.t.Errorf("bytes for %q at %d", path, offset)
	}
	n, err := io.Copy(io.Discard, content)
	return offset + n, err
}

func (c *checker) called(name string) {
	c.calls++
	if name != "a" {
		c.t.Errorf("asked for %q", name)
	}
}

// What an operator's program sends is done, or answered with why not; a body that
// is more than one value is not done by half.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/nodes/a/arm", "", `{"for":"1h"}`)
	f.Add("POST", "/nodes/a/arm", "", `{"for":"1h","image":"0123","keepEtcd":true,"transaction":"reimage","check":true}`)
	f.Add("POST", "/nodes/a/arm", "", `{"for":"1h"} {"for":"2h"}`)
	f.Add("POST", "/nodes/a/seed", "", "")
	f.Add("POST", "/nodes/a/hold", "", `{"why":"a disk is on its way"}`)
	f.Add("POST", "/nodes/a/hold", "", `{"why":"\u001b[2J"}`)
	f.Add("PATCH", "/images/a/files/disk.raw.zst", "9223372036854775807", "bytes")
	f.Add("PATCH", "/images/a/files/..", "-1", "")
	f.Add("POST", "/images", "", "{")
	f.Fuzz(func(t *testing.T, method, path, offset, body string) {
		r, err := http.NewRequest(method, "http://unix"+path, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/nodes/a/") && !strings.HasPrefix(path, "/images/a/") && path != "/images" {
			return
		}
		r.Header.Set("Upload-Offset", offset)
		c := &checker{t: t}
		w := &deadlines{httptest.NewRecorder()}
		admin.NewHandler(c, c).ServeHTTP(w, r)
		switch {
		case w.Code >= 500:
			t.Errorf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		case c.calls > 0 && w.Code != http.StatusOK:
			t.Errorf("%s %s %q was done, and answered %d", method, path, body, w.Code)
		}
		if w.Code == http.StatusOK && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: the answer is no JSON: %s", method, path, w.Body)
		}
		if c.calls > 0 && (strings.HasSuffix(r.URL.Path, "/arm") || strings.HasSuffix(r.URL.Path, "/hold")) && !json.Valid([]byte(body)) {
			t.Errorf("%s %s was done, and %q is no JSON value", method, path, body)
		}
	})
}

// deadlines is a recorder that takes deadlines, as a connection does.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error  { return nil }
func (deadlines) SetWriteDeadline(time.Time) error { return nil }
