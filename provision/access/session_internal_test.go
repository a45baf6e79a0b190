package access

import (
	"crypto/rand"
	"net/http/httptest"
	"testing"
	"time"
)

// With too many sessions those that are over end, and else the one that was used
// the longest time ago.
func TestSessionsAreBounded(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := &sessions{life: 12 * time.Hour, idle: time.Hour, now: func() time.Time { return now }, rand: rand.Reader, byDigest: map[digest]session{}}
	begin := func() string {
		t.Helper()
		id, err := s.begin(digest{})
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		return id
	}
	alive := func(id string) bool {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(s.cookie(id))
		_, ok := s.token(r)
		return ok
	}
	first, second := begin(), begin()
	for range maxSessions - 2 {
		begin()
	}
	if !alive(first) || len(s.byDigest) != maxSessions {
		t.Fatalf("%d sessions, the first %t", len(s.byDigest), alive(first))
	}
	begin()
	if !alive(first) || alive(second) || len(s.byDigest) != maxSessions {
		t.Errorf("%d sessions; used just now %t, not used %t", len(s.byDigest), alive(first), alive(second))
	}
	now = now.Add(2 * time.Hour)
	begin()
	if len(s.byDigest) != 1 {
		t.Errorf("%d sessions after all others were over", len(s.byDigest))
	}
}
