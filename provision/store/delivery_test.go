package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

func TestClaim(t *testing.T) {
	type step func(f *fixture, config, report string)
	wait := func(d time.Duration) step { return func(f *fixture, _, _ string) { f.now = f.now.Add(d) } }
	for _, tt := range []struct {
		name   string
		steps  []step
		from   netip.Addr
		reason string // empty: granted
	}{
		{"at once", nil, here, ""},
		{"inside the replay window", []step{wait(10*time.Minute - 1)}, here, ""},
		{"after the replay window", []step{wait(10 * time.Minute)}, here, "the config was delivered, and the time to repeat it is over"},
		{"from another address", nil, there, "the config was fetched by 192.0.2.1 before"},
		{"after the window", []step{wait(time.Hour)}, here, "the config token is not valid"},
		{"after the boot", []step{func(f *fixture, _, report string) {
			if err := f.report(report, api.PhaseBootstrapping); err != nil {
				f.t.Fatal(err)
			}
		}}, here, "the config token is not valid"},
		{"after a disarm", []step{func(f *fixture, _, _ string) {
			if _, err := f.Disarm(context.Background(), "a"); err != nil {
				f.t.Fatal(err)
			}
		}}, here, "the config token is not valid"},
		{"after another arm", []step{func(f *fixture, _, _ string) { f.arm() }}, here, "the config token is not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.arm()
			config := f.plan(f.seed())
			report := f.deliver(config)
			for _, s := range tt.steps {
				s(f, config, report)
			}
			claim, err := f.Claim(context.Background(), config, tt.from)
			if tt.reason != "" {
				f.wantRefused(err, tt.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kept, ok, err := f.Kept(context.Background(), claim, config)
			if err != nil || !ok {
				t.Fatalf("the delivered config is kept: %v, %v", ok, err)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256(kept.Body)); !claim.Completed || claim.SHA256 != sum {
				t.Errorf("claim %+v does not name the delivery before, %s", claim, sum)
			}
		})
	}
}

// A claim binds its address before a byte is sent: two readers at the same
// time are never both served.
func TestClaimBindsBeforeDelivery(t *testing.T) {
	f := newFixture(t)
	f.arm()
	config := f.plan(f.seed())
	if _, err := f.Claim(context.Background(), config, here); err != nil {
		t.Fatal(err)
	}
	if phase := f.node().Phase; phase != api.PhaseInstalling {
		t.Errorf("phase %s after a claim, want installing: nothing was delivered", phase)
	}
	_, err := f.Claim(context.Background(), config, there)
	f.wantRefused(err, "the config was fetched by 192.0.2.1 before")
	f.now = f.now.Add(30 * time.Minute)
	if _, err := f.Claim(context.Background(), config, here); err != nil {
		t.Errorf("a delivery that was not completed may be repeated: %v", err)
	}
}

func TestNewPlanRevokesConfigToken(t *testing.T) {
	f := newFixture(t)
	f.arm()
	first := f.plan(f.seed())
	second := f.plan(f.seed())
	_, err := f.Claim(context.Background(), first, here)
	f.wantRefused(err, "the config token is not valid")
	f.deliver(second)
}

func TestReport(t *testing.T) {
	const none = api.Phase("")
	for _, tt := range []struct {
		name    string
		install api.Phase // reported with the install token first
		node    api.Phase // then with the report token
		token   string    // of the report under test
		phase   api.Phase
		want    api.Phase
		err     string
	}{
		{"progress", none, none, "install", api.PhaseInstalling, api.PhaseInstalling, ""},
		{"installed", none, none, "install", api.PhaseInstalled, api.PhaseInstalled, ""},
		{"install failed", none, none, "install", api.PhaseFailed, api.PhaseFailed, ""},
		{"an installer is not ready", none, none, "install", api.PhaseReady, api.PhaseInstalling,
			`refused for node "a": an install token may not report the phase "ready"`},
		{"no phase", none, none, "install", none, api.PhaseInstalling,
			`refused for node "a": an install token may not report the phase ""`},
		{"installer going backward", api.PhaseInstalled, none, "install", api.PhaseInstalling, api.PhaseInstalled,
			`recording a report of node "a": a phase only moves forward: installing comes before installed`},
		{"bootstrapping", none, none, "report", api.PhaseBootstrapping, api.PhaseBootstrapping, ""},
		{"ready", none, api.PhaseBootstrapping, "report", api.PhaseReady, api.PhaseReady, ""},
		{"node going backward", none, api.PhaseReady, "report", api.PhaseBootstrapping, api.PhaseReady,
			`recording a report of node "a": a phase only moves forward: bootstrapping comes before ready`},
		{"node failed", none, api.PhaseBootstrapping, "report", api.PhaseFailed, api.PhaseFailed, ""},
		{"recovered", none, api.PhaseFailed, "report", api.PhaseReady, api.PhaseReady, ""},
		{"a node does not install", none, none, "report", api.PhaseInstalled, api.PhaseConfiguring,
			`refused for node "a": a report token may not report the phase "installed"`},
		{"an unknown phase", none, none, "report", "done", api.PhaseConfiguring,
			`refused for node "a": a report token may not report the phase "done"`},
		{"a config token", none, none, "config", api.PhaseBootstrapping, api.PhaseConfiguring,
			`refused for node "a": the token is not valid for a report`},
		{"an install token after the boot", none, api.PhaseBootstrapping, "oldinstall", api.PhaseFailed, api.PhaseBootstrapping,
			`refused for node "a": the token is not valid for a report`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.arm()
			install := f.seed()
			config := f.plan(install)
			if tt.install != none {
				if err := f.report(install, tt.install); err != nil {
					t.Fatal(err)
				}
			}
			token := install
			if tt.token != "install" {
				token = f.deliver(config)
				if tt.node != none {
					if err := f.report(token, tt.node); err != nil {
						t.Fatal(err)
					}
				}
			}
			switch tt.token {
			case "config":
				token = config
			case "oldinstall":
				token = install
			}
			err := f.report(token, tt.phase)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if got := f.node().Phase; got != tt.want {
				t.Errorf("phase %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReportTokenOutlivesWindowButNotItself(t *testing.T) {
	f := newFixture(t)
	f.arm()
	report := f.deliver(f.plan(f.seed()))
	f.now = f.now.Add(23 * time.Hour)
	if err := f.report(report, api.PhaseBootstrapping); err != nil {
		t.Errorf("after the window: %v", err)
	}
	f.now = f.now.Add(time.Hour)
	f.wantRefused(f.report(report, api.PhaseReady), "the token is not valid for a report")
}
