// Package storetest checks that an implementation of store.Store behaves like
// every other.
//
// [Run] is called from the implementation's own test with a function that
// makes an empty store; it checks isolation, atomicity and order, and then
// sends one node through a whole install by the rules of store.Gate, so that
// whatever the implementation writes and reads back must survive it.
//
// It promises nothing of durability: a crash is for the implementation's own
// tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

// Run checks the stores that open returns; each call must return an empty one.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Run("nodes are closed and sorted", func(t *testing.T) { sorted(t, open(t)) })
	t.Run("adding again changes nothing", func(t *testing.T) { addAgain(t, open(t)) })
	t.Run("an unknown node is an error", func(t *testing.T) { unknown(t, open(t)) })
	t.Run("a change that fails is not kept", func(t *testing.T) { failing(t, open(t)) })
	t.Run("values are the caller's own", func(t *testing.T) { isolated(t, open(t)) })
	t.Run("every field is kept", func(t *testing.T) { fields(t, open(t)) })
	t.Run("changes at the same time are all kept", func(t *testing.T) { concurrent(t, open(t)) })
	t.Run("one node", func(t *testing.T) { oneNode(t, open(t)) })
	t.Run("the first config of an install is kept", func(t *testing.T) { kept(t, open(t)) })
	t.Run("one config of many at the same time", func(t *testing.T) { keptConcurrently(t, open(t)) })
	t.Run("an install", func(t *testing.T) { install(t, open(t)) })
}

func closed(name string) store.Node {
	return store.Node{Name: name, Phase: api.PhaseRegistered, Reached: api.PhaseRegistered}
}

func add(t *testing.T, s store.Store, names ...string) {
	t.Helper()
	if err := s.Add(context.Background(), names...); err != nil {
		t.Fatalf("Add: %v", err)
	}
}

func want(t *testing.T, s store.Store, nodes ...store.Node) {
	t.Helper()
	got, err := s.Nodes(context.Background())
	if err != nil {
		t.Fatalf("Nodes: %v", err)
	}
	if diff := cmp.Diff(nodes, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("Nodes (-want +got):\n%s", diff)
	}
}

func sorted(t *testing.T, s store.Store) {
	want(t, s)
	add(t, s, "b", "a")
	add(t, s, "c")
	want(t, s, closed("a"), closed("b"), closed("c"))
}

func addAgain(t *testing.T, s store.Store) {
	add(t, s, "a")
	if _, err := s.Update(context.Background(), "a", func(n *store.Node) error { n.Refused = 7; return nil }); err != nil {
		t.Fatalf("Update: %v", err)
	}
	add(t, s, "a")
	n := closed("a")
	n.Refused = 7
	want(t, s, n)
}

func unknown(t *testing.T, s store.Store) {
	add(t, s, "a")
	_, err := s.Update(context.Background(), "b", func(*store.Node) error { return nil })
	if !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("Update of a node that is not there: %v, want store.ErrUnknownNode", err)
	}
	want(t, s, closed("a"))
}

func failing(t *testing.T, s store.Store) {
	add(t, s, "a")
	stop := errors.New("stop")
	_, err := s.Update(context.Background(), "a", func(n *store.Node) error {
		n.Refused = 7
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("Update: %v, want the error of the change", err)
	}
	want(t, s, closed("a"))
}

func isolated(t *testing.T, s store.Store) {
	add(t, s, "a")
	var kept *store.Node
	if _, err := s.Update(context.Background(), "a", func(n *store.Node) error { kept = n; return nil }); err != nil {
		t.Fatalf("Update: %v", err)
	}
	kept.Refused = 2
	want(t, s, closed("a"))
}

func fields(t *testing.T, s store.Store) {
	add(t, s, "a")
	// Times as a clock gives them in the field: UTC, with nanoseconds.
	at := func(sec int) time.Time { return time.Date(2026, 3, 1, 12, 0, sec, 123456789, time.UTC) }
	full := store.Node{
		Name: "a", Phase: api.PhaseFailed, Reached: api.PhaseInstalled,
		Window:      store.Window{InstallID: "id", Image: "i", Machine: "m", Opened: at(1), Until: at(2), Plans: 3, Forgiven: 1, Held: true, Why: "w"},
		Install:     store.Credential{SHA256: "i", InstallID: "id", Expires: at(3)},
		Config:      store.Credential{SHA256: "c", InstallID: "id", Expires: at(4)},
		Report:      store.Credential{SHA256: "r", InstallID: "id", Expires: at(5)},
		Delivery:    store.Delivery{Address: netip.MustParseAddr("192.0.2.1"), Claimed: at(6), SHA256: "d", Completed: at(7), Burned: true},
		Last:        api.Report{Phase: api.PhaseFailed, Step: "write", Done: 1, Total: 2, Message: "no disk"},
		LastReport:  at(8),
		Refused:     9,
		LastRefusal: store.Refusal{Time: at(9), Address: netip.MustParseAddr("192.0.2.2"), Reason: "late"},
	}
	got, err := s.Update(context.Background(), "a", func(n *store.Node) error { *n = full; return nil })
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	if diff := cmp.Diff(full, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("Update (-want +got):\n%s", diff)
	}
	want(t, s, full)
}

func oneNode(t *testing.T, s store.Store) {
	add(t, s, "a", "b")
	if n, err := s.Node(context.Background(), "b"); err != nil || n.Name != "b" {
		t.Errorf("Node: %+v, %v", n, err)
	}
	if _, err := s.Node(context.Background(), "c"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("Node that is not there: %v, want store.ErrUnknownNode", err)
	}
}

func kept(t *testing.T, s store.Store) {
	ctx := context.Background()
	add(t, s, "a", "b")
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	wantKept := func(name string, want store.Sealed) {
		t.Helper()
		got, err := s.Kept(ctx, name)
		if err != nil {
			t.Fatalf("Kept: %v", err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Kept of %s (-want +got):\n%s", name, diff)
		}
	}
	keep := func(name string, config, want store.Sealed) {
		t.Helper()
		got, err := s.Keep(ctx, name, config)
		if err != nil {
			t.Fatalf("Keep: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Keep for %s (-want +got):\n%s", name, diff)
		}
		wantKept(name, want)
	}
	first := store.Sealed{InstallID: "1", Report: "r", Until: at.Add(time.Hour), Box: []byte{0, 1, 255}}
	second := store.Sealed{InstallID: "1", Report: "s", Until: at.Add(time.Hour), Box: []byte{2}}
	next := store.Sealed{InstallID: "2", Report: "t", Until: at.Add(2 * time.Hour), Box: []byte{3}}
	wantKept("a", store.Sealed{})
	keep("a", first, first)
	keep("a", second, first)
	keep("b", next, next)
	keep("a", next, next)
	for _, name := range []string{"a", "a", "not there"} {
		if err := s.Forget(ctx, name); err != nil {
			t.Errorf("Forget %s: %v", name, err)
		}
	}
	wantKept("a", store.Sealed{})
	wantKept("b", next)
	keep("a", first, first)
	if err := s.Expire(ctx, at.Add(time.Hour)); err != nil {
		t.Errorf("Expire: %v", err)
	}
	wantKept("a", store.Sealed{})
	wantKept("b", next)
}

func keptConcurrently(t *testing.T, s store.Store) {
	add(t, s, "a")
	const many = 20
	got := make([]store.Sealed, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			var err error
			got[i], err = s.Keep(context.Background(), "a", store.Sealed{InstallID: "1", Box: []byte{byte(i)}})
			if err != nil {
				t.Errorf("Keep: %v", err)
			}
		})
	}
	wg.Wait()
	for _, sealed := range got {
		if diff := cmp.Diff(got[0], sealed); diff != "" {
			t.Fatalf("two configs of one install:\n%s", diff)
		}
	}
}

func concurrent(t *testing.T, s store.Store) {
	add(t, s, "a", "b")
	const each = 50
	var wg sync.WaitGroup
	for i := range 4 {
		name := []string{"a", "b"}[i%2]
		wg.Go(func() {
			for range each {
				if _, err := s.Update(context.Background(), name, func(n *store.Node) error { n.Refused++; return nil }); err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	a, b := closed("a"), closed("b")
	a.Refused, b.Refused = 2*each, 2*each
	want(t, s, a, b)
}

// install walks the way of one node and its one thief.
func install(t *testing.T, s store.Store) {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	gate, err := store.NewGate(s, store.GateOptions{
		Now:  func() time.Time { return now },
		Rand: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "a")
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	must := func(step string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	_, err = gate.Arm(ctx, "a", store.ArmOptions{Image: "image", Until: now.Add(time.Hour)})
	must("Arm", err)
	token, err := gate.Seed(ctx, "a", "52:54:00:00:00:01 uuid", here)
	must("Seed", err)
	_, configToken, err := gate.Plan(ctx, token, here)
	must("Plan", err)
	_, _, err = gate.Report(ctx, token, here, api.Report{Phase: api.PhaseInstalled})
	must("Report installed", err)
	claim, err := gate.Claim(ctx, configToken, here)
	must("Claim", err)
	var reportToken string
	config, err := gate.Render(ctx, claim, configToken, func(report string) ([]byte, error) {
		reportToken = report
		return []byte("config with " + report), nil
	})
	must("Render", err)
	again, err := gate.Render(ctx, claim, configToken, func(string) ([]byte, error) { return []byte("another"), nil })
	must("Render again", err)
	if string(again.Body) != string(config.Body) {
		t.Errorf("two configs of one install: %q, %q", config.Body, again.Body)
	}
	must("Delivered", gate.Delivered(ctx, claim, config))
	if _, err := gate.Claim(ctx, configToken, there); !errors.Is(err, store.ErrRefused) {
		t.Errorf("Claim from another address: %v, want store.ErrRefused", err)
	}
	n, before, err := gate.Report(ctx, reportToken, here, api.Report{Phase: api.PhaseReady})
	must("Report ready", err)
	got := fmt.Sprintln(before, n.Phase, n.Refused, n.LastRefusal.Reason, n.Delivery.Burned, n.Open(now))
	const state = "configuring ready 1 the config was fetched by 192.0.2.1 before true false\n"
	if got != state {
		t.Errorf("after the install: %s, want %s", got, state)
	}
}
