package throttle

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := New(Limit{Burst: 2, Every: 10 * time.Second, Addresses: 3}, func() time.Time { return now })
	take := func(addr string, want time.Duration) {
		t.Helper()
		if wait, ok := f.Take(netip.MustParseAddr(addr)); wait != want || ok != (want == 0) {
			t.Errorf("%s: wait %s, %t; want %s", addr, wait, ok, want)
		}
	}
	take("192.0.2.1", 0)
	take("192.0.2.1", 0)
	take("192.0.2.1", 10*time.Second)
	if wait := f.Wait(netip.MustParseAddr("192.0.2.1")); wait != 10*time.Second {
		t.Errorf("it waits %s", wait)
	}
	if wait := f.Wait(netip.MustParseAddr("192.0.2.9")); wait != 0 || len(f.byKey) != 1 {
		t.Errorf("somebody new waits %s, %d addresses", wait, len(f.byKey))
	}
	take("192.0.2.1", 10*time.Second) // who tries in vain does not wait longer
	now = now.Add(4 * time.Second)
	take("192.0.2.1", 6*time.Second)
	now = now.Add(6 * time.Second)
	take("192.0.2.1", 0)
	take("192.0.2.1", 10*time.Second)
	now = now.Add(time.Hour)
	take("192.0.2.1", 0)
	take("192.0.2.1", 0)
	take("192.0.2.1", 10*time.Second)
	f.GiveBack(netip.MustParseAddr("192.0.2.1"))
	take("192.0.2.1", 0)
	// One network of 64 bits is one address, another is another.
	take("2001:db8::1", 0)
	take("2001:db8::2", 0)
	take("2001:db8::3", 10*time.Second)
	take("2001:db8:0:1::1", 0)
	// A fourth makes the oldest be forgotten, and no more are kept.
	take("192.0.2.2", 0)
	take("192.0.2.1", 0)
	if len(f.byKey) != 3 || f.order.Len() != 3 {
		t.Errorf("%d addresses, %d in order", len(f.byKey), f.order.Len())
	}
	for i := range 1000 {
		addr := netip.MustParseAddr(fmt.Sprintf("198.51.%d.%d", i>>8, i&255))
		f.Take(addr)
		f.GiveBack(addr)
	}
	if len(f.byKey) > 3 || len(f.byKey) != f.order.Len() {
		t.Errorf("%d addresses, %d in order", len(f.byKey), f.order.Len())
	}
	if _, ok := f.Take(netip.Addr{}); !ok {
		t.Error("a request without an address")
	}
}
