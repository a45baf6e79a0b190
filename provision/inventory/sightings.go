package inventory

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxSightings bounds what is remembered: whoever can send a request can be a
// new machine with each.
const maxSightings = 256

// A Sighting is a machine that is not in the inventory, or contradicts it.
type Sighting struct {
	Facts
	Address netip.Addr
	// Reason is why it is none of the machines of the inventory.
	Reason      string
	First, Last time.Time
	// Count is how often it asked.
	Count int
}

// Sightings remembers the newest. Its zero value is empty and ready; it is safe
// for concurrent use.
type Sightings struct {
	mu    sync.Mutex
	byKey map[string]Sighting
}

// Saw remembers that a machine asked, and reports whether it is the first time.
func (s *Sightings) Saw(f Facts, from netip.Addr, reason string, now time.Time) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = make(map[string]Sighting)
	}
	key := f.key(from)
	seen, ok := s.byKey[key]
	if !ok {
		seen.First = now
		if len(s.byKey) >= maxSightings {
			s.forgetOldest()
		}
	}
	seen.Facts, seen.Address, seen.Reason, seen.Last = f, from, reason, now
	seen.Count++
	s.byKey[key] = seen
	return !ok
}

func (s *Sightings) forgetOldest() {
	oldest := ""
	for key, seen := range s.byKey {
		if oldest == "" || seen.Last.Before(s.byKey[oldest].Last) {
			oldest = key
		}
	}
	delete(s.byKey, oldest)
}

// Known forgets a machine that was found meanwhile.
func (s *Sightings) Known(f Facts, from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, f.key(from))
}

// All returns what is remembered, the newest first.
func (s *Sightings) All() []Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Values(s.byKey))
	slices.SortFunc(all, func(a, b Sighting) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return strings.Compare(a.key(a.Address), b.key(b.Address))
	})
	return all
}

// key is by what a machine is told from others: its interfaces, or where it
// asks from when it names none.
func (f Facts) key(from netip.Addr) string {
	if len(f.MACs) == 0 {
		return "address " + from.String()
	}
	return strings.Join(f.macs(), " ")
}

func (f Facts) macs() []string {
	macs := make([]string, len(f.MACs))
	for i, mac := range f.MACs {
		macs[i] = mac.String()
	}
	slices.Sort(macs)
	return macs
}

// IDs names what is the machine's alone, separated by spaces: its interfaces,
// then its UUID. A boot loader may see fewer interfaces than the next one does:
// machines are the same when they share one of these.
func (f Facts) IDs() string {
	ids := f.macs()
	if f.UUID != "" {
		ids = append(ids, f.UUID)
	}
	return strings.Join(ids, " ")
}
