package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

const (
	bootQuery     = api.PathBoot + "?mac=" + macA
	seedQuery     = api.PathSeed + "?mac=" + macA
	strangerQuery = "?mac=52-54-00-00-00-99"
)

// ask is what an installer that was started from a medium asks.
func (f *fixture) ask(query string) api.BootAnswer {
	f.t.Helper()
	got := f.from(addrA, "GET", f.api.URL+query, "", "")
	var a api.BootAnswer
	if err := json.Unmarshal([]byte(got.body), &a); got.status != http.StatusOK || err != nil {
		f.t.Fatalf("%d %s, %v", got.status, got.body, err)
	}
	return a
}

func TestBootAnswer(t *testing.T) {
	f := newFixture(t, nil)
	disk := api.DiskSelection{Serial: "s1"}
	const remedy = "to install it: k8snode arm a"
	check := func(want api.BootAnswer) {
		t.Helper()
		if diff := cmp.Diff(want, f.ask(bootQuery)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(api.BootAnswer{Node: "a", Action: api.ActionLocal, Reason: "no install window is open", Remedy: remedy, Disk: disk})
	f.arm()
	check(api.BootAnswer{Node: "a", Action: api.ActionInstall, Disk: disk})
	if _, err := f.srv.Hold(context.Background(), "a", "its disk is new"); err != nil {
		t.Fatal(err)
	}
	check(api.BootAnswer{Node: "a", Action: api.ActionWait, Reason: "held: its disk is new", Remedy: "let it go on: k8snode release a", Disk: disk})
	if _, err := f.srv.Release(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	token := f.seed().Token
	f.plan(token)
	if got := f.report(addrA, token, `{"phase": "installed"}`); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	check(api.BootAnswer{Node: "a", Action: api.ActionLocal, Reason: "the image is on the disk", Remedy: remedy, Disk: disk})
	f.clock.add(time.Hour)
	check(api.BootAnswer{Node: "a", Action: api.ActionLocal, Reason: "the install window has ended", Remedy: remedy, Disk: disk})

	// A stranger waits, and is shown to the operator.
	want := api.BootAnswer{Action: api.ActionWait, Reason: "the machine is not in the inventory", Remedy: "to install it, add a node with its MAC to cluster.yaml"}
	if diff := cmp.Diff(want, f.ask(api.PathBoot+strangerQuery)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if seen, err := f.srv.Strangers(context.Background()); err != nil || len(seen) != 1 || seen[0].MACs[0] != "52:54:00:00:00:99" {
		t.Errorf("%+v, %v", seen, err)
	}
	if got := f.from(addrA, "GET", f.api.URL+api.PathBoot+"?mac=x", "", ""); got.status != http.StatusBadRequest {
		t.Errorf("no MAC: %d %s", got.status, got.body)
	}
	if got := f.from(addrA, "POST", f.api.URL+bootQuery, "", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.status)
	}
}

// An installer gets by TLS what a boot loader gets without, by the same rules.
func TestInstallerSeed(t *testing.T) {
	f := newFixture(t, nil)
	refused := func(from, query string) {
		t.Helper()
		if got := f.from(from, "GET", f.api.URL+query, "", ""); got.status != http.StatusNotFound || strings.Contains(got.body, "a.") {
			t.Errorf("%s from %s: %d %s", query, from, got.status, got.body)
		}
	}
	refused(addrA, seedQuery)
	f.arm()
	refused(thief, seedQuery)
	refused(addrA, api.PathSeed+strangerQuery)
	got := f.from(addrA, "GET", f.api.URL+seedQuery, "", "")
	var seed api.Seed
	if err := json.Unmarshal([]byte(got.body), &seed); err != nil || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s, %v", got.body, err)
	}
	if seed.Node != "a" || seed.Server != f.opts.TLSURL || seed.CA != string(f.opts.CA) {
		t.Errorf("%+v", seed)
	}
	f.plan(seed.Token)
}

// An operator carries a token to a machine, in a window, and it is on record.
func TestOperatorSeed(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	if _, err := f.srv.Seed(ctx, "a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed window: %v", err)
	}
	if _, err := f.srv.Seed(ctx, "none"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("an unknown node: %v", err)
	}
	f.arm()
	seed, err := f.srv.Seed(ctx, "a")
	if err != nil || seed.Node != "a" || seed.Server != f.opts.TLSURL || seed.CA != string(f.opts.CA) || !seed.Until.Equal(f.clock.Now().Add(time.Hour)) {
		t.Fatalf("%+v, %v", seed, err)
	}
	if diff := cmp.Diff([]string{"52:54:00:00:00:01"}, seed.MACs); diff != "" {
		t.Error(diff)
	}
	if log := f.audit.String(); !strings.Contains(log, `"action":"seed","result":"granted","detail":"to an operator"`) || strings.Contains(log, seed.Token) {
		t.Errorf("the audit:\n%s", log)
	}
	f.plan(seed.Token)
}
