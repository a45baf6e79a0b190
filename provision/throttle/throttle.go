package throttle

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Limit bounds how often one address may fail. Zero values are the defaults.
type Limit struct {
	// Burst is how many failures in a row are answered, 10 by default.
	Burst int
	// Every is the time after which one more is, 15 seconds by default.
	Every time.Duration
	// Addresses is how many addresses are remembered, 4096 by default. The one
	// that failed the longest time ago is forgotten first.
	Addresses int
}

// A Limiter is a token bucket for each address. It is safe for concurrent use.
type Limiter struct {
	limit Limit
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

// New returns a limiter with full buckets.
func New(limit Limit, now func() time.Time) *Limiter {
	if limit.Burst <= 0 {
		limit.Burst = 10
	}
	if limit.Every <= 0 {
		limit.Every = 15 * time.Second
	}
	if limit.Addresses <= 0 {
		limit.Addresses = 4096
	}
	return &Limiter{limit: limit, now: now, byKey: make(map[netip.Prefix]*list.Element), order: list.New()}
}

// Take takes the right to try once, before it is known how the attempt ends: many
// at the same time are counted, too. Without it, wait is how long to wait.
func (f *Limiter) Take(addr netip.Addr) (wait time.Duration, ok bool) {
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
	if over := f.over(b.full); over > 0 {
		return over, false
	}
	b.full = b.full.Add(f.limit.Every)
	return 0, true
}

// Wait is how long an address has to wait for its next attempt, 0 if it has not. It
// takes nothing.
func (f *Limiter) Wait(addr netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, known := f.byKey[keyOf(addr)]
	if !known {
		return 0
	}
	return max(0, f.over(bucketOf(e).full))
}

// over is how much earlier an attempt is than it may be, by when its bucket is full.
func (f *Limiter) over(full time.Time) time.Duration {
	return full.Add(f.limit.Every).Sub(f.now()) - time.Duration(f.limit.Burst)*f.limit.Every
}

// GiveBack is for an attempt that succeeded.
func (f *Limiter) GiveBack(addr netip.Addr) {
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

func (f *Limiter) drop(e *list.Element) {
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
