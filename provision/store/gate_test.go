package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

// fixture is a gate over the nodes a and b, with a clock that tests turn.
type fixture struct {
	*store.Gate
	t     *testing.T
	store *store.Memory
	now   time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, store: new(store.Memory), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if err := f.store.Add(context.Background(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	var err error
	f.Gate, err = store.NewGate(f.store, store.GateOptions{
		Now:  func() time.Time { return f.now },
		Rand: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) node() store.Node {
	f.t.Helper()
	nodes, err := f.store.Nodes(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return nodes[0]
}

func (f *fixture) arm() {
	f.t.Helper()
	if _, err := f.Arm(context.Background(), "a", store.ArmOptions{Image: "image", Until: f.now.Add(time.Hour)}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) seed() string {
	f.t.Helper()
	token, err := f.Seed(context.Background(), "a", "52:54:00:00:00:01", here)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f *fixture) plan(token string) string {
	f.t.Helper()
	_, config, err := f.Plan(context.Background(), token, here)
	if err != nil {
		f.t.Fatal(err)
	}
	return config
}

// deliver returns the report token.
func (f *fixture) deliver(config string) string {
	f.t.Helper()
	claim, err := f.Claim(context.Background(), config, here)
	if err != nil {
		f.t.Fatal(err)
	}
	rendered, err := f.Render(context.Background(), claim, config, func(report string) ([]byte, error) { return []byte(report), nil })
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Delivered(context.Background(), claim, rendered); err != nil {
		f.t.Fatal(err)
	}
	return string(rendered.Body)
}

func (f *fixture) report(token string, p api.Phase) error {
	_, _, err := f.Report(context.Background(), token, here, api.Report{Phase: p})
	return err
}

// wantRefused checks the reason, and that the refusal shows in the node.
func (f *fixture) wantRefused(err error, reason string) {
	f.t.Helper()
	want := fmt.Sprintf("refused for node %q: %s", "a", reason)
	if !errors.Is(err, store.ErrRefused) || err.Error() != want {
		f.t.Fatalf("error %v, want %s", err, want)
	}
	if n := f.node(); n.Refused == 0 || n.LastRefusal.Reason != reason || !n.LastRefusal.Time.Equal(f.now) {
		f.t.Errorf("the node shows %d refusals, the last %+v", n.Refused, n.LastRefusal)
	}
}

func TestSeedRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*fixture)
		reason  string
	}{
		{"never armed", func(*fixture) {}, "no install window is open"},
		{"window ended", func(f *fixture) { f.arm(); f.now = f.now.Add(time.Hour) }, "the install window has ended"},
		{"disarmed", func(f *fixture) {
			f.arm()
			if _, err := f.Disarm(context.Background(), "a"); err != nil {
				f.t.Fatal(err)
			}
		}, "no install window is open"},
		{"image on the disk", func(f *fixture) {
			f.arm()
			token := f.seed()
			f.plan(token)
			if err := f.report(token, api.PhaseInstalled); err != nil {
				f.t.Fatal(err)
			}
		}, "the image is on the disk"},
		{"config fetched", func(f *fixture) { f.arm(); f.deliver(f.plan(f.seed())) }, "the config of this install was fetched already"},
		{"failed after the image was written", func(f *fixture) {
			f.arm()
			token := f.seed()
			f.plan(token)
			for _, p := range []api.Phase{api.PhaseInstalled, api.PhaseFailed} {
				if err := f.report(token, p); err != nil {
					f.t.Fatal(err)
				}
			}
		}, "the image is on the disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.prepare(f)
			_, err := f.Seed(context.Background(), "a", "52:54:00:00:00:01", here)
			f.wantRefused(err, tt.reason)
		})
	}
}

func TestSeedAgainRevokes(t *testing.T) {
	f := newFixture(t)
	f.arm()
	first, second := f.seed(), f.seed()
	if first == second {
		t.Fatal("two seeds have one token")
	}
	_, _, err := f.Plan(context.Background(), first, here)
	f.wantRefused(err, "the install token is not valid")
	if phase := f.node().Phase; phase != api.PhaseArmed {
		t.Errorf("phase %s after seeds and a refused plan, want armed", phase)
	}
	f.plan(second)
	if phase := f.node().Phase; phase != api.PhaseInstalling {
		t.Errorf("phase %s after a plan, want installing", phase)
	}
}

func TestFailedInstallMayBeRepeated(t *testing.T) {
	f := newFixture(t)
	f.arm()
	token := f.seed()
	f.plan(token)
	if err := f.report(token, api.PhaseFailed); err != nil {
		t.Fatal(err)
	}
	if phase := f.node().Phase; phase != api.PhaseFailed {
		t.Errorf("phase %s, want failed", phase)
	}
	f.plan(f.seed())
	if phase := f.node().Phase; phase != api.PhaseInstalling {
		t.Errorf("phase %s, want installing", phase)
	}
}

func TestTooManyPlansHold(t *testing.T) {
	f := newFixture(t)
	f.arm()
	for range 3 {
		f.plan(f.seed())
	}
	token := f.seed()
	_, _, err := f.Plan(context.Background(), token, here)
	f.wantRefused(err, "held: too many installs in one window")
	_, err = f.Seed(context.Background(), "a", "52:54:00:00:00:01", here)
	f.wantRefused(err, "held: too many installs in one window")
	f.arm()
	if f.node().Window.Held {
		t.Error("a new window is held")
	}
	f.plan(f.seed())
}

func TestPlanRefused(t *testing.T) {
	f := newFixture(t)
	f.arm()
	token := f.seed()
	config := f.plan(token)
	ctx := context.Background()

	_, _, err := f.Plan(ctx, config, here)
	f.wantRefused(err, "the install token is not valid")
	_, _, err = f.Plan(ctx, "a"+strings.Repeat("x", 44), here)
	if err == nil || err.Error() != `refused for node "": not a token` {
		t.Errorf("not a token: %v", err)
	}
	_, _, err = f.Plan(ctx, "c"+strings.TrimPrefix(token, "a"), here)
	if err == nil || err.Error() != `refused for node "c": unknown node` {
		t.Errorf("unknown node: %v", err)
	}
	_, _, err = f.Plan(ctx, "b"+strings.TrimPrefix(token, "a"), here)
	if err == nil || err.Error() != `refused for node "b": the install token is not valid` {
		t.Errorf("token of another node: %v", err)
	}
	f.now = f.now.Add(time.Hour)
	_, _, err = f.Plan(ctx, token, here)
	f.wantRefused(err, "the install token is not valid")
	f.now = f.now.Add(-time.Hour)
	f.arm()
	_, _, err = f.Plan(ctx, token, here)
	f.wantRefused(err, "the install token is not valid")
}

func TestArm(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		node string
		in   time.Duration
		is   error
		want string
	}{
		{"past", "a", 0, store.ErrWindow, "impossible install window: it ends before it begins"},
		{"too long", "a", 24*time.Hour + 1, store.ErrWindow, "impossible install window: it is longer than 24h0m0s"},
		{"unknown", "c", time.Hour, store.ErrUnknownNode, `arming node "c": unknown node "c"`},
	} {
		_, err := f.Arm(ctx, tt.node, store.ArmOptions{Image: "image", Until: f.now.Add(tt.in)})
		if !errors.Is(err, tt.is) || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
		}
	}
	f.arm()
	if n := f.node(); n.PhaseAt(f.now) != api.PhaseArmed || n.PhaseAt(f.now.Add(time.Hour)) != api.PhaseRegistered {
		t.Error("an armed node does not close with its window")
	}
}

// The refusals of an earlier install stay visible.
func TestArmKeepsRefusals(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Seed(context.Background(), "a", "52:54:00:00:00:01", there); err == nil {
		t.Fatal("a closed node was given a seed")
	}
	f.arm()
	if n := f.node(); n.Refused != 1 || n.LastRefusal.Address != there {
		t.Errorf("refused %d, last %+v", n.Refused, n.LastRefusal)
	}
}

func TestNoTokenIsKept(t *testing.T) {
	f := newFixture(t)
	f.arm()
	install := f.seed()
	config := f.plan(install)
	report := f.deliver(config)
	kept := fmt.Sprintf("%+v", f.node())
	for _, token := range []string{install, config, report} {
		_, secret, _ := strings.Cut(token, ".")
		if len(secret) != 43 || strings.Contains(kept, secret) {
			t.Errorf("token %q of %d characters is kept in the node", token, len(secret))
		}
	}
}

func TestNewGateRefuses(t *testing.T) {
	const want = "making a gate: it needs a store, a clock and a source of randomness"
	if _, err := store.NewGate(new(store.Memory), store.GateOptions{Now: time.Now}); err == nil || err.Error() != want {
		t.Errorf("without randomness: %v", err)
	}
}

type brokenRand struct{}

func (brokenRand) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestNoRandomnessNoToken(t *testing.T) {
	s := new(store.Memory)
	if err := s.Add(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	g, err := store.NewGate(s, store.GateOptions{Now: time.Now, Rand: brokenRand{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Seed(context.Background(), "a", "52:54:00:00:00:01", here); err == nil || err.Error() != "reading randomness for a token: no entropy" {
		t.Errorf("Seed: %v", err)
	}
	if _, err := g.Arm(context.Background(), "a", store.ArmOptions{Image: "image", Until: time.Now().Add(time.Hour)}); err == nil || err.Error() != "reading randomness for an install ID: no entropy" {
		t.Errorf("Arm: %v", err)
	}
}

func FuzzTokenNode(f *testing.F) {
	f.Add("a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("a.b.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")
	f.Add(".")
	f.Fuzz(func(t *testing.T, token string) {
		name, ok := store.TokenNode(token)
		if ok != (name != "") {
			t.Fatalf("TokenNode(%q) = %q, %v", token, name, ok)
		}
		if ok && (len(token) != len(name)+44 || !strings.HasPrefix(token, name+".")) {
			t.Fatalf("TokenNode(%q) = %q", token, name)
		}
	})
}

func TestHoldAndRelease(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	if _, err := f.Hold(ctx, "a", "w"); !errors.Is(err, store.ErrWindow) || err.Error() != `holding node "a": impossible install window: none is open` {
		t.Errorf("holding a node that is not armed: %v", err)
	}
	f.arm()
	token := f.seed()
	if n, err := f.Hold(ctx, "a", "otto holds it"); err != nil || !n.Window.Held {
		t.Fatalf("%+v, %v", n.Window, err)
	}
	_, _, err := f.Plan(ctx, token, here)
	f.wantRefused(err, "held: otto holds it")
	if n, err := f.Release(ctx, "a"); err != nil || n.Window.Held || n.Window.Why != "" {
		t.Fatalf("%+v, %v", n.Window, err)
	}
	// As often as in a new window, and the machine that began is remembered.
	for range 3 {
		f.plan(f.seed())
	}
	_, _, err = f.Plan(ctx, f.seed(), here)
	f.wantRefused(err, "held: too many installs in one window")
	if _, err := f.Release(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	_, err = f.Seed(ctx, "a", "52:54:00:00:00:99", here)
	f.wantRefused(err, "another machine has begun this install: 52:54:00:00:00:01")
	for range 3 {
		f.plan(f.seed())
	}
	_, _, err = f.Plan(ctx, f.seed(), here)
	f.wantRefused(err, "held: too many installs in one window")
	if _, err := f.Release(ctx, "none"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("releasing an unknown node: %v", err)
	}
}

func TestIssue(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	if _, _, err := f.Issue(ctx, "a"); !errors.Is(err, store.ErrClosed) ||
		err.Error() != `issuing a seed of node "a": nothing is to be installed: no install window is open` {
		t.Errorf("a closed window: %v", err)
	}
	if _, _, err := f.Issue(ctx, "none"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("an unknown node: %v", err)
	}
	f.arm()
	// One token at a time, whoever has it.
	fetched := f.seed()
	first, until, err := f.Issue(ctx, "a")
	if n := f.node(); err != nil || until != n.Window.Until || n.Refused != 0 {
		t.Fatalf("until %s, %v, %+v", until, err, n)
	}
	_, _, err = f.Plan(ctx, fetched, here)
	f.wantRefused(err, "the install token is not valid")
	second, _, err := f.Issue(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Plan(ctx, first, here)
	f.wantRefused(err, "the install token is not valid")
	f.plan(second)
	f.now = until
	_, _, err = f.Plan(ctx, second, here)
	f.wantRefused(err, "the install token is not valid")
}
