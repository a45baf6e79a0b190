package provision_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/throttle"
)

func TestPlan(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	p, s := f.plan(f.seed().Token)
	blockMap, _ := f.image().Manifest.Artifact(images.BlockMapFile)
	want := api.InstallPlan{
		Node: "a",
		Image: api.InstallImage{
			ID:             imageID,
			DiskURL:        "http://127.0.0.1:8080/artifacts/0123abcd/disk.raw.zst",
			BlockMapURL:    "http://127.0.0.1:8080/artifacts/0123abcd/disk.blockmap.json",
			BlockMapSHA256: blockMap.SHA256,
			ManifestURL:    "http://127.0.0.1:8080/artifacts/0123abcd/manifest.json",
		},
		Disk: api.DiskSelection{Serial: "s1"},
		Stub: p.Stub,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if s.URL != "https://127.0.0.1:8443/v1/config" || !strings.HasPrefix(s.Token, "a.") {
		t.Errorf("stub %+v", s)
	}
	if n := f.node(); n.Phase != api.PhaseInstalling {
		t.Errorf("phase %s, want installing", n.Phase)
	}
}

// Every refusal of the machine API is final to Ignition, says nothing of its
// reason and is never empty.
func TestMachineRefuses(t *testing.T) {
	other := "a." + strings.Repeat("A", 43)
	for _, path := range []string{api.PathInstall, api.PathConfig, api.PathReport} {
		method := "GET"
		if path == api.PathReport {
			method = "POST"
		}
		for _, tt := range []struct {
			name    string
			headers []string
			node    bool // the refusal is node a's
			reason  string
		}{
			{"no token", nil, false, "the request has no token"},
			{"not a token", []string{"Authorization", "Bearer secret"}, false, "the request has no token"},
			{"another scheme", []string{"Authorization", "Basic " + other}, false, "the request has no token"},
			{"unknown node", []string{"Authorization", "Bearer c" + other[1:]}, false, "the token is of no node of the inventory"},
			{"wrong token", []string{"Authorization", "Bearer " + other}, true, ""},
		} {
			f := newFixture(t, nil)
			f.configToken()
			got := f.from(addrA, method, f.api.URL+path, "", `{"phase":"installing"}`, tt.headers...)
			if got.status != http.StatusForbidden || got.body != "refused\n" {
				t.Errorf("%s %s: %d %q, want 403", path, tt.name, got.status, got.body)
			}
			if n := f.node(); (n.Refused > 0) != tt.node {
				t.Errorf("%s %s: node a shows %d refusals", path, tt.name, n.Refused)
			}
			f.wantAudit(`"result":"refused","detail":"` + tt.reason)
		}
	}
	f := newFixture(t, nil)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404}, {"GET", "/v1", 404}, {"GET", "//v1/config", 404}, {"GET", "/v1/config/", 404},
		{"GET", "/v1/../v1/config", 404}, {"GET", "/boot.ipxe", 404}, {"GET", "/nodes", 404},
		{"POST", "/v1/config", 405}, {"HEAD", "/v1/config", 405}, {"POST", "/v1/install", 405}, {"GET", "/v1/report", 405},
	} {
		if got := f.from(addrA, tt.method, f.api.URL+tt.path, "", ""); got.status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got.status, tt.status)
		}
	}
}

// A token in the URL is not read.
func TestTokenInURLIsNotRead(t *testing.T) {
	f := newFixture(t, nil)
	token := f.configToken()
	if got := f.from(addrA, "GET", f.api.URL+api.PathConfig+"?token="+token, "", ""); got.status != http.StatusForbidden {
		t.Errorf("%d, want 403", got.status)
	}
	if got := f.fetchConfig(addrA, token); got.status != http.StatusOK {
		t.Errorf("the same token in the header: %d", got.status)
	}
}

func TestSeedTwiceKillsFirstToken(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	first, second := f.seed(), f.seed()
	if got := f.from(addrA, "GET", f.api.URL+api.PathInstall, first.Token, ""); got.status != http.StatusForbidden {
		t.Errorf("first token: %d, want 403", got.status)
	}
	f.wantRefused(addrA, "plan", "the install token is not valid")
	f.plan(second.Token)
}

// What cannot be audited is not handed out.
func TestNoAuditNoSecret(t *testing.T) {
	disk := &breakable{}
	f := newFixture(t, func(o *provision.Options) { o.Audit = audit.New(disk, o.Now, audit.Tail{}) })
	token := f.configToken()
	disk.fail()
	if got := f.fetchConfig(addrA, token); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "ignition") {
		t.Errorf("config: %d %q, want 503", got.status, got.body)
	}
	if _, err := f.srv.Arm(context.Background(), "a", admin.ArmOptions{For: time.Hour}); err == nil || err.Error() != "writing the audit log: an earlier write failed: disk full" {
		t.Errorf("arm: %v", err)
	}
	if got := f.from(addrA, "GET", f.boot.URL+seedURL, "", ""); got.status == http.StatusOK {
		t.Error("a seed was served")
	}
	if _, err := f.srv.Disarm(context.Background(), "a"); err != nil {
		t.Errorf("disarm, which hands out nothing: %v", err)
	}
}

func TestReports(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	install := f.seed().Token
	_, s := f.plan(install)

	if got := f.report(addrA, install, `{"phase":"installing","step":"write","done":5,"total":10,"message":"half\u001b[2J"}`); got.status != http.StatusOK || got.body != "{}\n" {
		t.Fatalf("%d %q", got.status, got.body)
	}
	n := f.node()
	if n.Step != "write" || n.Done != 5 || n.Total != 10 || n.Message != "half [2J" || !n.LastReport.Equal(f.clock.Now()) {
		t.Errorf("node %+v", n)
	}
	if got := f.report(addrA, install, `{"phase":"failed","message":"no disk"}`); got.status != http.StatusOK {
		t.Fatalf("failed: %d", got.status)
	}
	if n := f.node(); n.Phase != api.PhaseFailed || n.Message != "no disk" {
		t.Errorf("node %+v", n)
	}
	f.wantAudit(`"action":"report","result":"recorded","detail":"phase failed"`)
	if got := f.report(addrA, install, `{"phase":"installed"}`); got.status != http.StatusOK {
		t.Fatalf("installed: %d", got.status)
	}
	if got := f.report(addrA, install, `{"phase":"installing"}`); got.status != http.StatusConflict {
		t.Errorf("going backward: %d, want 409", got.status)
	}
	if got := f.report(addrA, install, `{"phase":"ready"}`); got.status != http.StatusForbidden {
		t.Errorf("an installer that says ready: %d, want 403", got.status)
	}
	if n := f.node(); n.Phase != api.PhaseInstalled {
		t.Errorf("phase %s, want installed", n.Phase)
	}
	report := reportToken(t, f.fetchConfig(addrA, s.Token).body)
	if got := f.report(addrA, s.Token, `{"phase":"bootstrapping"}`); got.status != http.StatusForbidden {
		t.Errorf("a config token reports: %d, want 403", got.status)
	}
	if got := f.report(thief, report, `{"phase":"bootstrapping"}`); got.status != http.StatusForbidden {
		t.Errorf("a thief reports: %d, want 403", got.status)
	}
	if got := f.report(addrA, report, `{"phase":"ready"}`); got.status != http.StatusOK {
		t.Errorf("ready: %d", got.status)
	}
	if n := f.node(); n.Phase != api.PhaseReady || n.Open {
		t.Errorf("phase %s, open %v; want ready and closed", n.Phase, n.Open)
	}
}

func TestReportNotUnderstood(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	token := f.seed().Token
	f.plan(token)
	for _, tt := range []struct {
		name   string
		body   string
		status int
	}{
		{"nothing", "", 400},
		{"not JSON", "phase", 400},
		{"two documents", `{"phase":"installed"}{}`, 400},
		{"negative", `{"phase":"installing","done":-1}`, 400},
		{"long step", `{"phase":"installing","step":"` + strings.Repeat("x", 65) + `"}`, 400},
		{"too large", `{"phase":"installing","message":"` + strings.Repeat("x", 20<<10) + `"}`, 413},
		{"a newer agent's key", `{"phase":"installing","colour":"red"}`, 200},
	} {
		if got := f.report(addrA, token, tt.body); got.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, got.status, tt.status)
		}
	}
	if got := f.report(addrA, token, `{"phase":"installing","message":"`+strings.Repeat("ä", 4000)+`"}`); got.status != http.StatusOK {
		t.Errorf("long message: %d", got.status)
	}
	if n := f.node(); len(n.Message) != 4096 {
		t.Errorf("a message of %d bytes is kept, want 4096", len(n.Message))
	}
}

func TestTooManyInstallsHold(t *testing.T) {
	f := newFixture(t, func(o *provision.Options) { o.Limits.MaxPlans = 2 })
	f.arm()
	for range 2 {
		f.plan(f.seed().Token)
	}
	token := f.seed().Token
	if got := f.from(addrA, "GET", f.api.URL+api.PathInstall, token, ""); got.status != http.StatusForbidden {
		t.Errorf("third install: %d, want 403", got.status)
	}
	if n := f.node(); !n.Held {
		t.Errorf("node %+v is not held", n)
	}
	got := f.from(addrA, "GET", f.boot.URL+scriptURL, "", "")
	if !strings.Contains(got.body, "echo k8snode: a: held: too many installs in one window\n") {
		t.Errorf("script of a held node:\n%s", got.body)
	}
	if n, err := f.srv.Release(t.Context(), "a"); err != nil || n.Held {
		t.Fatalf("released: %+v, %v", n, err)
	}
	f.plan(f.seed().Token)
	if n, err := f.srv.Hold(t.Context(), "a", "otto holds it"); err != nil || !n.Held || n.HeldFor != "otto holds it" {
		t.Fatalf("held: %+v, %v", n, err)
	}
	if _, err := f.srv.Hold(t.Context(), "none", ""); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("holding an unknown node: %v", err)
	}
}

// Whoever is refused again and again is put off, by an answer that machines come back
// after, and fills no log meanwhile.
func TestRefusedTooOften(t *testing.T) {
	f := newFixture(t, func(o *provision.Options) { o.Limits.Failures = throttle.Limit{Burst: 5, Every: time.Minute} })
	f.arm()
	token := f.seed().Token
	ask := func(from, token string) answer { return f.from(from, "GET", f.api.URL+api.PathInstall, token, "") }
	for range 5 {
		if got := ask(thief, token+"x"); got.status != http.StatusForbidden {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	lines := strings.Count(f.audit.String(), "\n")
	if got := ask(thief, token+"x"); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "60" {
		t.Errorf("%d %s, %v", got.status, got.body, got.header)
	}
	if got := f.from(thief, "GET", f.boot.URL+"/seed/machine.cpio?mac=52-54-00-00-00-01", "", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("seed: %d", got.status)
	}
	if got := strings.Count(f.audit.String(), "\n"); got != lines {
		t.Errorf("%d lines of the audit, want %d", got, lines)
	}
	// Others are not kept waiting, and later it may ask again.
	f.plan(token)
	f.clock.add(2 * time.Minute)
	if got := ask(thief, token+"x"); got.status != http.StatusForbidden {
		t.Errorf("two minutes later: %d", got.status)
	}
}

// What stays on a disk is said to the installer and to whoever renders the config.
func TestKeepEtcd(t *testing.T) {
	var asked provision.ConfigRequest
	f := newFixture(t, func(o *provision.Options) {
		o.Inventory[0].Etcd, o.Inventory[0].EtcdMiB = true, 10240
		o.Config = func(_ context.Context, r provision.ConfigRequest) ([]byte, error) {
			asked = r
			return []byte(`{"ignition":{"version":"3.4.0"}}`), nil
		}
	})
	armed, err := f.srv.Arm(t.Context(), "a", admin.ArmOptions{For: time.Hour, Image: imageID, KeepEtcd: true, Transaction: "reimage"})
	if err != nil {
		t.Fatal(err)
	}
	if armed.Image != imageID || !armed.KeepEtcd || armed.Transaction != "reimage" {
		t.Errorf("armed %+v", armed)
	}
	p, s := f.plan(f.seed().Token)
	if diff := cmp.Diff(&api.KeepPartition{Label: "k8snode-etcd", SizeMiB: 10240}, p.Keep); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if got := f.from(addrA, "GET", f.api.URL+api.PathConfig, s.Token, ""); got.status != http.StatusOK || !asked.KeepEtcd {
		t.Errorf("config: %d, asked for %+v", got.status, asked)
	}
	if n, err := f.srv.Disarm(t.Context(), "a"); err != nil || n.Transaction != "" {
		t.Errorf("disarmed: %+v, %v", n, err)
	}
}

func TestArmRefuses(t *testing.T) {
	f := newFixture(t, nil)
	for _, tt := range []struct {
		opts admin.ArmOptions
		is   error
	}{
		{admin.ArmOptions{For: time.Hour, KeepEtcd: true}, store.ErrWindow},
		{admin.ArmOptions{For: time.Hour, Image: "4567"}, library.ErrUnknown},
		{admin.ArmOptions{For: 48 * time.Hour}, store.ErrWindow},
	} {
		if _, err := f.srv.Arm(t.Context(), "a", tt.opts); !errors.Is(err, tt.is) {
			t.Errorf("%+v: %v, want %v", tt.opts, err, tt.is)
		}
	}
	if n, err := f.srv.Arm(t.Context(), "a", admin.ArmOptions{For: time.Hour, Check: true}); err != nil || n.Name != "a" {
		t.Errorf("checked: %+v, %v", n, err)
	}
	if n := f.node(); n.Open {
		t.Errorf("a refused window is open: %+v", n)
	}
}
