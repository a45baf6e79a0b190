package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

// backend is one node.
type backend struct{ node admin.Node }

func (b *backend) Nodes(context.Context) ([]admin.Node, error) { return []admin.Node{b.node}, nil }

func (b *backend) Arm(_ context.Context, name string, opts admin.ArmOptions) (admin.Node, error) {
	switch {
	case name == "broken":
		return admin.Node{}, errors.New("the store is gone")
	case name != b.node.Name:
		return admin.Node{}, fmt.Errorf("arming node %q: %w", name, store.ErrUnknownNode)
	case opts.For <= 0:
		return admin.Node{}, fmt.Errorf("%w: it ends before it begins", store.ErrWindow)
	}
	b.node.Phase, b.node.Open = api.PhaseArmed, true
	b.node.WindowEnd = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(opts.For)
	b.node.Image, b.node.KeepEtcd, b.node.Transaction = opts.Image, opts.KeepEtcd, opts.Transaction
	return b.node, nil
}

func (b *backend) Strangers(context.Context) ([]admin.Stranger, error) {
	return []admin.Stranger{{MACs: []string{"52:54:00:00:00:99"}, Address: "192.0.2.9", Reason: "r", Count: 2}}, nil
}

func (b *backend) Disarm(_ context.Context, name string) (admin.Node, error) {
	if name != b.node.Name {
		return admin.Node{}, fmt.Errorf("disarming node %q: %w", name, store.ErrUnknownNode)
	}
	b.node.Phase, b.node.Open = api.PhaseRegistered, false
	return b.node, nil
}

func (b *backend) Hold(_ context.Context, name, why string) (admin.Node, error) {
	if !b.node.Open {
		return admin.Node{}, fmt.Errorf("holding node %q: %w: none is open", name, store.ErrWindow)
	}
	b.node.Held, b.node.HeldFor = true, why
	return b.node, nil
}

func (b *backend) Release(_ context.Context, name string) (admin.Node, error) {
	if name != b.node.Name {
		return admin.Node{}, fmt.Errorf("releasing node %q: %w", name, store.ErrUnknownNode)
	}
	b.node.Held, b.node.HeldFor = false, ""
	return b.node, nil
}

func (b *backend) Seed(_ context.Context, name string) (admin.InstallSeed, error) {
	switch {
	case name != b.node.Name:
		return admin.InstallSeed{}, fmt.Errorf("making a seed of node %q: %w", name, store.ErrUnknownNode)
	case !b.node.Open:
		return admin.InstallSeed{}, fmt.Errorf("issuing a seed of node %q: %w: no install window is open", name, store.ErrClosed)
	}
	return admin.InstallSeed{Node: name, Token: name + ".secret", MACs: []string{"52:54:00:00:00:01"}, Until: b.node.WindowEnd}, nil
}

func start(t *testing.T, b admin.Backend) string {
	t.Helper()
	return startWith(t, b, nil)
}

func startWith(t *testing.T, b admin.Backend, images admin.Library) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k8snode", "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: admin.NewHandler(b, images), ReadHeaderTimeout: time.Second}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return path
}

func TestClient(t *testing.T) {
	b := &backend{admin.Node{
		Name: "a", MAC: "52:54:00:00:00:01", Address: "192.0.2.11/24", Role: "worker", Phase: api.PhaseRegistered,
		Refused: 1, LastRefusal: &admin.Refusal{Time: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), Address: "192.0.2.9", Reason: "late"},
	}}
	client := admin.NewClient(start(t, b))
	ctx := context.Background()

	want := b.node
	nodes, err := client.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]admin.Node{want}, nodes); diff != "" {
		t.Errorf("Nodes (-want +got):\n%s", diff)
	}
	armed, err := client.Arm(ctx, "a", admin.ArmOptions{For: 45 * time.Minute, Image: "0123", KeepEtcd: true, Transaction: "reimage"})
	if err != nil {
		t.Fatal(err)
	}
	want.Image, want.KeepEtcd, want.Transaction = "0123", true, "reimage"
	want.Phase, want.Open, want.WindowEnd = api.PhaseArmed, true, time.Date(2026, 3, 1, 12, 45, 0, 0, time.UTC)
	if diff := cmp.Diff(want, armed); diff != "" {
		t.Errorf("Arm (-want +got):\n%s", diff)
	}
	held, err := client.Hold(ctx, "a", "its disk is being replaced")
	if err != nil || !held.Held || held.HeldFor != "its disk is being replaced" {
		t.Errorf("Hold: %+v, %v", held, err)
	}
	if held, err = client.Hold(ctx, "a", ""); err != nil || held.HeldFor != "an operator holds it" {
		t.Errorf("Hold without a reason: %+v, %v", held, err)
	}
	if _, err := client.Hold(ctx, "a", "two\nlines"); err == nil || err.Error() != "reading why the node is held: it is not one line of at most 200 bytes" {
		t.Errorf("Hold for a reason of two lines: %v", err)
	}
	released, err := client.Release(ctx, "a")
	if err != nil || released.Held {
		t.Errorf("Release: %+v, %v", released, err)
	}
	closed, err := client.Disarm(ctx, "a")
	if err != nil || closed.Phase != api.PhaseRegistered {
		t.Errorf("Disarm: %+v, %v", closed, err)
	}
}

func TestClientErrors(t *testing.T) {
	client := admin.NewClient(start(t, &backend{admin.Node{Name: "a"}}))
	ctx := context.Background()
	_, unknown := client.Arm(ctx, "b/../a", admin.ArmOptions{For: time.Hour})
	_, window := client.Arm(ctx, "a", admin.ArmOptions{})
	_, broken := client.Arm(ctx, "broken", admin.ArmOptions{For: time.Hour})
	_, disarm := client.Disarm(ctx, "c")
	for _, tt := range []struct {
		name string
		err  error
		is   error
		want string
	}{
		{"unknown", unknown, store.ErrUnknownNode, `arming node "b/../a": unknown node`},
		{"window", window, store.ErrWindow, "impossible install window: it ends before it begins"},
		{"broken", broken, nil, "the store is gone"},
		{"disarm", disarm, store.ErrUnknownNode, `disarming node "c": unknown node`},
	} {
		if tt.err == nil || tt.err.Error() != tt.want || tt.is != nil && !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}
	_, err := admin.NewClient(filepath.Join(t.TempDir(), "none.sock")).Nodes(ctx)
	if err == nil || !strings.HasPrefix(err.Error(), "asking the provisioning server: ") {
		t.Errorf("no server: %v", err)
	}
}

func TestHandlerRefuses(t *testing.T) {
	path := start(t, &backend{admin.Node{Name: "a"}})
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/nodes", "", 200},
		{"POST", "/nodes", "", 405},
		{"GET", "/nodes/a/arm", "", 405},
		{"POST", "/nodes/a/arm", "", 400},
		{"POST", "/nodes/a/arm", `{"for":"soon"}`, 400},
		{"POST", "/nodes/a/arm", `{"for":"45m","force":true}`, 400},
		{"POST", "/nodes/a/arm", `{"for":"` + strings.Repeat("9", 5000) + `m"}`, 400},
		{"POST", "/nodes/a/arm", `{"for":"45m"}`, 200},
		{"POST", "/nodes/b/disarm", "", 404},
		{"POST", "/nodes/a/hold", "", 400},
		{"POST", "/nodes/a/hold", `{"why":"x","force":true}`, 400},
		{"POST", "/nodes/b/release", "", 404},
		{"GET", "/", "", 404},
	} {
		req, err := http.NewRequest(tt.method, "http://admin"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s %.40s: %d, want %d", tt.method, tt.path, tt.body, resp.StatusCode, tt.status)
		}
	}
}

func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	path := filepath.Join(dir, "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode().Perm(), want)
		}
	}
	wantErr := func(name, reason string) {
		t.Helper()
		l, err := admin.Listen(path)
		want := fmt.Sprintf("preparing the admin socket %q: %s", path, reason)
		if err == nil {
			l.Close()
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	wantErr("in use", "another server uses it")

	// What a killed server leaves behind is replaced.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = admin.Listen(path)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	l.Close()

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantErr("a file", "another file has this name")
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	wantErr("open folder", fmt.Sprintf("the folder %q has mode 0750: others can enter it", dir))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	wantErr("folder is a link", fmt.Sprintf("%q is not a folder", dir))
}

func TestSeed(t *testing.T) {
	b := &backend{node: admin.Node{Name: "a"}}
	client := admin.NewClient(start(t, b))
	if _, err := client.Seed(t.Context(), "none"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := client.Seed(t.Context(), "a"); !errors.Is(err, store.ErrClosed) || err.Error() != `issuing a seed of node "a": nothing is to be installed: no install window is open` {
		t.Errorf("a closed window: %v", err)
	}
	if _, err := client.Arm(t.Context(), "a", admin.ArmOptions{For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	want, err := b.Seed(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Seed(t.Context(), "a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
