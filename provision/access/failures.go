package access

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// FailureLimit bounds how often one address may fail. Zero values are the
// defaults.
type FailureLimit struct {
	// Burst is how many failures in a row are answered, 10 by default.
	Burst int
	// Every is the time after which one more is, 15 seconds by default.
	Every time.Duration
	// Addresses is how many addresses are remembered, 4096 by default. The one
	// that failed the longest time ago is forgotten first.
	Addresses int
}

// failures is a token bucket for each address.
type failures struct {
	limit FailureLimit
	now   func() time.Time

	mu    sync.Mutex
	byKey map[netip.Prefix]*list.Element
	// order has the buckets, the one that was used last in front.
	order *list.List
}

type bucket struct {
	key netip.Prefix
	// full is the time at which the bucket would be full, had nobody taken
	// from it since: one number instead of a level and its time.
	full time.Time
}

func newFailures(limit FailureLimit, now func() time.Time) *failures {
	if limit.Burst <= 0 {
		limit.Burst = 10
	}
	if limit.Every <= 0 {
		limit.Every = 15 * time.Second
	}
	if limit.Addresses <= 0 {
		limit.Addresses = 4096
	}
	return &failures{limit: limit, now: now, byKey: make(map[netip.Prefix]*list.Element), order: list.New()}
}

// take takes the right to try once, before it is known how the attempt ends: many
// at the same time are counted, too. Without it, wait is how long to wait.
func (f *failures) take(addr netip.Addr) (wait time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, key := f.now(), keyOf(addr)
	e, known := f.byKey[key]
	if !known {
		if len(f.byKey) >= f.limit.Addresses {
			f.drop(f.order.Back())
		}
		e = f.order.PushFront(&bucket{key: key, full: now})
		f.byKey[key] = e
	}
	f.order.MoveToFront(e)
	b := bucketOf(e)
	if b.full.Before(now) {
		b.full = now
	}
	next := b.full.Add(f.limit.Every)
	if over := next.Sub(now) - time.Duration(f.limit.Burst)*f.limit.Every; over > 0 {
		return over, false
	}
	b.full = next
	return 0, true
}

// giveBack is for an attempt that succeeded.
func (f *failures) giveBack(addr netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.byKey[keyOf(addr)]
	if !ok {
		return
	}
	b := bucketOf(e)
	if b.full = b.full.Add(-f.limit.Every); !b.full.After(f.now()) {
		f.drop(e)
	}
}

func (f *failures) drop(e *list.Element) {
	delete(f.byKey, bucketOf(e).key)
	f.order.Remove(e)
}

func bucketOf(e *list.Element) *bucket {
	b, ok := e.Value.(*bucket)
	if !ok {
		panic("internal error: the list has something that is not a bucket")
	}
	return b
}

// keyOf is the address, or its network of 64 bits: whoever has one IPv6 address
// has as many.
func keyOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: they share one bucket
	}
	return p
}
