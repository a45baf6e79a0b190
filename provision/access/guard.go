package access

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/throttle"
)

// Options say who is let in. Without ClientCAs and Tokens it is nobody.
type Options struct {
	// ClientCAs is the operators' authority; nil accepts no certificate. It is
	// not the one that signs for machines.
	ClientCAs *x509.CertPool
	// Tokens returns the tokens as they are now; nil accepts none. See
	// [TokenFile.Tokens].
	Tokens func() (Tokens, error)

	// Page answers people who are not let in; nil answers by plain text.
	Page func(w http.ResponseWriter, r *http.Request, p Page)
	// Public are the beginnings of paths that everybody may GET: what Page
	// needs to look like something.
	Public []string

	// SessionLife is how long a session lasts, 12 hours by default, SessionIdle
	// how long without a request of a person, 1 hour by default.
	SessionLife time.Duration
	SessionIdle time.Duration
	Failures    throttle.Limit

	// Audit is offered every login, failed login and change; nil records
	// nothing. When it returns an error before a change or a login, that does
	// not happen.
	Audit func(ctx context.Context, e Event) error

	// Now and Rand are required: the clock, and a source of secret bytes.
	Now  func() time.Time
	Rand io.Reader
	// Logger is never given a secret; nil discards.
	Logger *slog.Logger
}

// A Page is what a person sees instead of what they asked for.
type Page struct {
	// Status is the status of the answer.
	Status int
	// Message says why, for people; it is empty where there is only the form.
	Message string
	// Login says that a token would help. The form sends the fields token and
	// next to /login by POST.
	Login bool
	// Next is the path to go on to after a login.
	Next string
}

// An Event is for the audit.
type Event struct {
	// Identity is the zero value for somebody unknown.
	Identity Identity
	// Address is where the request came from.
	Address netip.Addr
	// Action is login, logout or change.
	Action string
	// Result is asked, granted, refused or failed. A change is asked before it
	// has another result.
	Result string
	// Detail has the method and the path of a change, and why it was refused. It
	// never holds a secret.
	Detail string
}

// A Guard lets requests through, or answers them. It is safe for concurrent use.
type Guard struct {
	opts     Options
	log      *slog.Logger
	failures *throttle.Limiter
	sessions *sessions
	origins  *http.CrossOriginProtection
}

// New returns a guard.
func New(opts Options) (*Guard, error) {
	if opts.Now == nil || opts.Rand == nil {
		return nil, errors.New("making the guard of the operator's side: it needs a clock and a source of randomness")
	}
	if opts.ClientCAs == nil && opts.Tokens == nil {
		return nil, errors.New("making the guard of the operator's side: without an authority and without tokens it lets nobody in")
	}
	if opts.SessionLife <= 0 {
		opts.SessionLife = 12 * time.Hour
	}
	if opts.SessionIdle <= 0 {
		opts.SessionIdle = time.Hour
	}
	g := &Guard{
		opts: opts, log: opts.Logger,
		failures: throttle.New(opts.Failures, opts.Now),
		sessions: &sessions{
			life: opts.SessionLife, idle: opts.SessionIdle,
			now: opts.Now, rand: opts.Rand, byDigest: make(map[digest]session),
		},
		origins: http.NewCrossOriginProtection(),
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	return g, nil
}

// Paths that the guard answers itself.
const (
	loginPath  = "/login"
	logoutPath = "/logout"
)

// Middleware goes around everything that operators reach.
func (g *Guard) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, next) })
}

func (g *Guard) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.TLS == nil {
		g.deny(w, r, denial{status: http.StatusForbidden, reason: "this is reached through TLS only"})
		return
	}
	if err := g.origins.Check(r); err != nil {
		g.refuse(r, Identity{}, "change", "another site asked for it: "+describe(r))
		g.deny(w, r, denial{status: http.StatusForbidden, reason: "the request is from another site"})
		return
	}
	if safe(r.Method) && g.public(r.URL.Path) {
		next.ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case loginPath:
		g.serveLogin(w, r)
		return
	case logoutPath:
		g.serveLogout(w, r)
		return
	}
	i, denied := g.identify(r)
	if denied != nil {
		if g.askAgain(w, r) {
			return
		}
		g.deny(w, r, *denied)
		return
	}
	r = r.WithContext(NewContext(r.Context(), i))
	if safe(r.Method) {
		next.ServeHTTP(w, r)
		return
	}
	g.change(w, r, i, next)
}

// change lets an operator's change through, between two records of it.
func (g *Guard) change(w http.ResponseWriter, r *http.Request, i Identity, next http.Handler) {
	what := describe(r)
	if !i.Role.Includes(Operator) {
		g.refuse(r, i, "change", "a viewer changes nothing: "+what)
		g.deny(w, r, denial{status: http.StatusForbidden, reason: "your role, " + string(i.Role) + ", may only look"})
		return
	}
	if err := g.record(r, Event{Identity: i, Action: "change", Result: "asked", Detail: what}); err != nil {
		g.deny(w, r, denial{status: http.StatusServiceUnavailable, reason: "the change cannot be recorded, so it is not made"})
		return
	}
	answer, result := &answer{ResponseWriter: w}, "failed"
	// Also of a handler that panics. The error is logged: what has happened is
	// not undone.
	defer func() {
		_ = g.record(r, Event{Identity: i, Action: "change", Result: result, Detail: what})
		g.log.Info("change", "identity", i.String(), "request", what, "result", result)
	}()
	next.ServeHTTP(answer, r)
	switch {
	case answer.status < 400:
		result = "granted"
	case answer.status < 500:
		result = "refused"
	}
}

// identify returns whose request this is. A token decides alone: a request with a
// bad one is not somebody else's by its cookie. A session comes before a
// certificate: the browser shows that one unasked.
func (g *Guard) identify(r *http.Request) (Identity, *denial) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			token = ""
		}
		e, denied := g.checkToken(r, token)
		return Identity{e.name, e.role, ByToken}, denied
	}
	if sum, ok := g.sessions.token(r); ok {
		tokens, denied := g.tokens()
		if denied != nil {
			return Identity{}, denied
		}
		if e, ok := tokens.findDigest(sum); ok {
			return Identity{e.name, e.role, BySession}, nil
		}
		g.sessions.end(r)
	}
	if chain := r.TLS.PeerCertificates; len(chain) > 0 && g.opts.ClientCAs != nil {
		i, err := fromCertificate(chain, g.opts.ClientCAs, g.opts.Now())
		if err != nil {
			return Identity{}, g.failed(r, err.Error())
		}
		return i, nil
	}
	return Identity{}, &denial{status: http.StatusUnauthorized, reason: "sign in to go on", blank: true}
}

// checkToken returns whose a token is.
func (g *Guard) checkToken(r *http.Request, token string) (entry, *denial) {
	addr := clientAddr(r)
	wait, ok := g.failures.Take(addr)
	if !ok {
		return entry{}, tooMany(wait)
	}
	tokens, denied := g.tokens()
	if denied != nil {
		g.failures.GiveBack(addr)
		return entry{}, denied
	}
	e, ok := tokens.find(token)
	if !ok {
		g.refuse(r, Identity{}, "login", "the token is not one of the file")
		return entry{}, &denial{status: http.StatusUnauthorized, reason: "the token is not valid"}
	}
	g.failures.GiveBack(addr)
	return e, nil
}

// failed is for a certificate that is not good. Nobody can guess one: the limit
// is for the audit, and keeps no good one out.
func (g *Guard) failed(r *http.Request, reason string) *denial {
	if wait, ok := g.failures.Take(clientAddr(r)); !ok {
		return tooMany(wait)
	}
	g.refuse(r, Identity{}, "login", reason)
	return &denial{status: http.StatusUnauthorized, reason: reason}
}

func (g *Guard) tokens() (Tokens, *denial) {
	if g.opts.Tokens == nil {
		return Tokens{}, nil
	}
	tokens, err := g.opts.Tokens()
	if err != nil {
		g.log.Error("no token is accepted", "error", err)
		return Tokens{}, &denial{status: http.StatusServiceUnavailable, reason: "the tokens cannot be read: see the log of the server"}
	}
	return tokens, nil
}

// record offers an event to the audit.
func (g *Guard) record(r *http.Request, e Event) error {
	if g.opts.Audit == nil {
		return nil
	}
	e.Address = clientAddr(r)
	err := g.opts.Audit(r.Context(), e)
	if err != nil {
		g.log.Error("event not audited", "identity", e.Identity.String(), "action", e.Action, "result", e.Result, "error", err)
	}
	return err
}

// refuse records what does not happen in any case.
func (g *Guard) refuse(r *http.Request, i Identity, action, reason string) {
	g.log.Warn("refused", "identity", i.String(), "address", clientAddr(r).String(), "action", action, "reason", reason)
	_ = g.record(r, Event{Identity: i, Action: action, Result: "refused", Detail: reason})
}

// public reports whether everybody may see a path. An unclean one leads elsewhere.
func (g *Guard) public(name string) bool {
	return path.Clean(name) == name && slices.ContainsFunc(g.opts.Public, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// safe reports whether a method changes nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// clientAddr is the address of the peer. Forwarding headers are not read:
// anybody can write them.
func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// tokenDigest is what a session remembers of its token.
func tokenDigest(token string) digest { return sha256.Sum256([]byte(token)) }
