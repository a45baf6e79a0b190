package access

import (
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
	"time"
)

// cookieName has the prefix with which browsers keep the cookie to this host,
// to TLS and to the path /.
const cookieName = "__Host-k8snode"

// maxSessions bounds the sessions; the one that was used the longest time ago
// ends first.
const maxSessions = 1024

// sessions are those of browsers, in memory: they end with the server.
type sessions struct {
	life, idle time.Duration
	now        func() time.Time
	rand       io.Reader

	mu       sync.Mutex
	byDigest map[digest]session
}

// session is what is kept of one: by which token it began. Whose that is, and
// what they may do, is looked up each time.
type session struct {
	token       digest
	began, used time.Time
}

// begin returns the text of a new session's cookie.
func (s *sessions) begin(token digest) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := newSecret(s.rand)
	if err != nil {
		return "", err
	}
	s.makeRoom()
	now := s.now()
	s.byDigest[sha256.Sum256([]byte(id))] = session{token: token, began: now, used: now}
	return id, nil
}

func (s *sessions) makeRoom() {
	if len(s.byDigest) < maxSessions {
		return
	}
	var oldest digest
	var used time.Time
	for id, kept := range s.byDigest {
		if s.over(kept) {
			delete(s.byDigest, id)
		} else if used.IsZero() || kept.used.Before(used) {
			oldest, used = id, kept.used
		}
	}
	if len(s.byDigest) >= maxSessions {
		delete(s.byDigest, oldest)
	}
}

func (s *sessions) over(kept session) bool {
	now := s.now()
	return !now.Before(kept.began.Add(s.life)) || !now.Before(kept.used.Add(s.idle))
}

// token returns the token by which the session of a request began.
func (s *sessions) token(r *http.Request) (digest, bool) {
	id, ok := sessionID(r)
	if !ok {
		return digest{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, ok := s.byDigest[id]
	if !ok {
		return digest{}, false
	}
	if s.over(kept) {
		delete(s.byDigest, id)
		return digest{}, false
	}
	// What a page fetches by itself, while nobody looks at it, keeps no session
	// alive.
	if r.Header.Get("Sec-Fetch-Dest") != "empty" {
		kept.used = s.now()
		s.byDigest[id] = kept
	}
	return kept.token, true
}

// end ends the session of a request.
func (s *sessions) end(r *http.Request) {
	if id, ok := sessionID(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byDigest, id)
	}
}

// sessionID is the digest of a request's cookie. To look it up in a map tells
// nothing of the cookie: who has the digest has no preimage.
func sessionID(r *http.Request) (digest, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return digest{}, false
	}
	return sha256.Sum256([]byte(c.Value)), true
}

// cookie is the cookie of a session; an empty text ends it.
func (s *sessions) cookie(id string) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Value: id, Path: "/",
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(s.life / time.Second),
	}
	if id == "" {
		c.MaxAge = -1
	}
	return c
}
