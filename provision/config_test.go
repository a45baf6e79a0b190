package provision_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

func TestConfig(t *testing.T) {
	f := newFixture(t, nil)
	token := f.configToken()
	if n := f.node(); n.Phase != api.PhaseInstalling {
		t.Errorf("phase %s before the config, want installing", n.Phase)
	}
	first := f.fetchConfig(addrA, token)
	if first.status != http.StatusOK || !strings.Contains(first.body, `"node":"a"`) {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if n := f.node(); n.Phase != api.PhaseConfiguring {
		t.Errorf("phase %s, want configured", n.Phase)
	}
	f.wantAudit(`"action":"config","result":"delivered","detail":"sha256 `)

	// A replay from the same address, inside its window: the same bytes.
	f.clock.add(10*time.Minute - 1)
	if again := f.fetchConfig(addrA, token); again.status != http.StatusOK || again.body != first.body {
		t.Errorf("replay: %d %s, want %s", again.status, again.body, first.body)
	}
	// From another address, and after it: refused.
	if theft := f.fetchConfig(thief, token); theft.status != http.StatusForbidden {
		t.Errorf("theft: %d, want 403", theft.status)
	}
	f.wantRefused(thief, "config", "the request is not from the node's own address")
	f.clock.add(1)
	if late := f.fetchConfig(addrA, token); late.status != http.StatusForbidden {
		t.Errorf("late replay: %d, want 403", late.status)
	}
	f.wantRefused(addrA, "config", "the config was delivered, and the time to repeat it is over")
	if n := f.node(); n.Refused != 2 {
		t.Errorf("refused %d, want 2", n.Refused)
	}
	for _, secret := range []string{token, first.body, `"token"`} {
		if strings.Contains(f.audit.String(), secret) {
			t.Errorf("the audit holds %s", secret)
		}
	}
}

// deliveries is a store that cannot record a delivery.
type deliveries struct {
	store.Store
	full atomic.Bool
}

func (d *deliveries) Update(ctx context.Context, name string, change func(*store.Node) error) (store.Node, error) {
	return d.Store.Update(ctx, name, func(n *store.Node) error {
		before := n.Delivery.Completed
		if err := change(n); err != nil {
			return err
		}
		if d.full.Load() && before != n.Delivery.Completed {
			return errors.New("disk full")
		}
		return nil
	})
}

// Nobody holds a whole config of which the store does not know.
func TestConfigIsCutWithoutRecord(t *testing.T) {
	d := &deliveries{Store: new(store.Memory)}
	f := newFixture(t, func(o *provision.Options) { o.Store = d })
	token := f.configToken()
	d.full.Store(true)
	cut := f.fromMaybeCut(addrA, "GET", f.api.URL+api.PathConfig, token, "")
	if !errors.Is(cut.cut, io.ErrUnexpectedEOF) {
		t.Errorf("%d %q, %v, want an unexpected EOF", cut.status, cut.body, cut.cut)
	}
	if n := f.node(); n.Phase != api.PhaseInstalling {
		t.Errorf("phase %s, want installing", n.Phase)
	}
	f.wantAudit(`"action":"config","result":"failed"`)
	d.full.Store(false)
	whole := f.fetchConfig(addrA, token)
	if !strings.HasPrefix(whole.body, cut.body) || len(whole.body) != len(cut.body)+1 {
		t.Errorf("retried: %q, want %q and its last byte", whole.body, cut.body)
	}
	if n := f.node(); n.Phase != api.PhaseConfiguring {
		t.Errorf("phase %s, want configured", n.Phase)
	}
}

// Where addresses prove nothing, the first reader is still the only one.
func TestConfigSecondReader(t *testing.T) {
	f := newFixture(t, func(o *provision.Options) { o.Sources = provision.AnySource })
	token := f.configToken()
	if got := f.fetchConfig(thief, token); got.status != http.StatusOK {
		t.Fatalf("first reader: %d", got.status)
	}
	if got := f.fetchConfig(addrA, token); got.status != http.StatusForbidden {
		t.Errorf("second reader: %d, want 403", got.status)
	}
	f.wantRefused(addrA, "config", "the config was fetched by 127.0.0.2 before")
}

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(f *fixture, token string)
		reason string
	}{
		{"expired window", func(f *fixture, _ string) { f.clock.add(time.Hour) }, "the config token is not valid"},
		{"disarmed", func(f *fixture, _ string) {
			if _, err := f.srv.Disarm(context.Background(), "a"); err != nil {
				f.t.Fatal(err)
			}
		}, "the config token is not valid"},
		{"armed again", func(f *fixture, _ string) { f.arm() }, "the config token is not valid"},
		{"disarmed after the delivery", func(f *fixture, token string) {
			f.fetchConfig(addrA, token)
			if _, err := f.srv.Disarm(context.Background(), "a"); err != nil {
				f.t.Fatal(err)
			}
		}, "the config token is not valid"},
		{"bootstrapping", func(f *fixture, token string) {
			got := f.fetchConfig(addrA, token)
			if got := f.report(addrA, reportToken(f.t, got.body), `{"phase":"bootstrapping"}`); got.status != http.StatusOK {
				f.t.Fatalf("report: %d", got.status)
			}
		}, "the config token is not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			token := f.configToken()
			tt.before(f, token)
			if got := f.fetchConfig(addrA, token); got.status != http.StatusForbidden {
				t.Errorf("%d %s, want 403", got.status, got.body)
			}
			f.wantRefused(addrA, "config", tt.reason)
		})
	}
}

func reportToken(t *testing.T, config string) string {
	t.Helper()
	var c struct{ Token string }
	if err := json.Unmarshal([]byte(config), &c); err != nil || c.Token == "" {
		t.Fatalf("config %s: %v", config, err)
	}
	return c.Token
}

// An empty config, or one that Ignition would take for none, is a fault that
// Ignition retries, and leaves the one delivery unused.
func TestConfigFaultIsRetried(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
		err  error
	}{
		{"error", "", errors.New("no such secret: hunter2")},
		{"nothing", "", nil},
		{"white space", " \n\t", nil},
		{"empty object", "{}", nil},
		{"null", "null", nil},
		{"not JSON", "ignition", nil},
		{"no version", `{"ignition":{}}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			token := f.configToken()
			f.renderAs(func(string, string) ([]byte, error) { return []byte(tt.body), tt.err })
			got := f.fetchConfig(addrA, token)
			if got.status != http.StatusServiceUnavailable || got.body != "not available now\n" {
				t.Errorf("%d %q, want 503", got.status, got.body)
			}
			if n := f.node(); n.Phase != api.PhaseInstalling || n.Refused != 0 {
				t.Errorf("phase %s, refused %d", n.Phase, n.Refused)
			}
			f.wantAudit(`"action":"config","result":"failed"`)
			if strings.Contains(f.audit.String(), "hunter2") {
				t.Error("the audit holds the error of the source")
			}
			f.renderAs(nil)
			if got := f.fetchConfig(addrA, token); got.status != http.StatusOK {
				t.Errorf("retried: %d, want 200", got.status)
			}
		})
	}
}

// Two requests at the same time are given the bytes of one rendering.
func TestConfigConcurrently(t *testing.T) {
	f := newFixture(t, nil)
	token := f.configToken()
	bodies := make([]string, 8)
	var wg sync.WaitGroup
	for i := range bodies {
		wg.Go(func() {
			if got := f.fetchConfig(addrA, token); got.status == http.StatusOK {
				bodies[i] = got.body
			}
		})
	}
	wg.Wait()
	for _, b := range bodies {
		if b == "" || b != bodies[0] {
			t.Errorf("bodies differ: %q", bodies)
		}
	}
}

// A server that was started again, and another one beside it, send the bytes that
// the first one rendered.
func TestConfigAfterRestart(t *testing.T) {
	shared := new(store.Memory)
	f := newFixture(t, func(o *provision.Options) { o.Store = shared })
	token := f.configToken()
	first := f.fetchConfig(addrA, token)
	if first.status != http.StatusOK {
		t.Fatalf("%d", first.status)
	}
	g := newFixture(t, func(o *provision.Options) { o.Store = shared })
	if got := g.fetchConfig(addrA, token); got.status != http.StatusOK || got.body != first.body {
		t.Errorf("%d %s, want %s", got.status, got.body, first.body)
	}
	if g.rendered != 0 {
		t.Errorf("rendered %d times for a config that was delivered", g.rendered)
	}
}

// Where the bytes are lost, no others are sent in their place.
func TestConfigLost(t *testing.T) {
	shared := new(store.Memory)
	f := newFixture(t, func(o *provision.Options) { o.Store = shared })
	token := f.configToken()
	if got := f.fetchConfig(addrA, token); got.status != http.StatusOK {
		t.Fatalf("%d", got.status)
	}
	if err := shared.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := f.fetchConfig(addrA, token); got.status != http.StatusForbidden {
		t.Errorf("%d, want 403", got.status)
	}
	f.wantRefused(addrA, "config", "the config was delivered and is no longer kept")
}

// Who reads the store reads no config.
func TestConfigIsSealed(t *testing.T) {
	shared := new(store.Memory)
	f := newFixture(t, func(o *provision.Options) { o.Store = shared })
	got := f.fetchConfig(addrA, f.configToken())
	kept, err := shared.Kept(t.Context(), "a")
	if err != nil || len(kept.Box) == 0 {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	all, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"ignition", reportToken(t, got.body)} {
		if bytes.Contains(kept.Box, []byte(secret)) || bytes.Contains(all, []byte(secret)) {
			t.Errorf("the store holds %q", secret)
		}
	}
	// The node that has booted with it needs it no more.
	if got := f.report(addrA, reportToken(t, got.body), `{"phase":"bootstrapping"}`); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if kept, err := shared.Kept(t.Context(), "a"); err != nil || kept.InstallID != "" {
		t.Errorf("kept %+v, %v", kept, err)
	}
}
