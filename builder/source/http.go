package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTTP fetches files over HTTP. The zero value is usable.
type HTTP struct {
	// Client makes the requests; nil is http.DefaultClient.
	Client *http.Client
	// Mirrors say where to ask instead, as images.Spec.Mirrors does.
	Mirrors map[string]string
	// Offline refuses to open a socket: what the cache does not have is
	// [ErrOffline].
	Offline bool
	// Attempts is the number of requests that may fail one after the other
	// without having brought anything; zero is 6.
	Attempts int
	// Backoff is the pause after a number of failures, counted from 1, which a
	// server's Retry-After can only make longer. Nil doubles it from a second
	// to half a minute; a caller with many peers adds chance to it.
	Backoff func(failures int) time.Duration
	// Stall is how long a server may send nothing; zero is a minute.
	Stall time.Duration
	// Progress is called while a file is fetched, with the bytes that are
	// there and those of the whole file, or -1 while that is not known. It may
	// be called from several goroutines.
	Progress func(name string, done, total int64)
}

// ErrOffline says that an input is not in the cache and must not be fetched.
var ErrOffline = errors.New("it is not in the cache, and nothing is fetched offline; bake once without --offline")

// A StatusError is an HTTP answer that is no success.
type StatusError struct {
	URL  string
	Code int
	// retryAfter is how long the server wants to be left alone.
	retryAfter time.Duration
}

func (e *StatusError) Error() string { return fmt.Sprintf("getting %s: status %d", e.URL, e.Code) }

// Gone reports whether the server says that there is no such file, so that it
// may have been replaced by another.
func (e *StatusError) Gone() bool {
	return e.Code == http.StatusNotFound || e.Code == http.StatusGone
}

// passing reports whether the same request may succeed later.
func (e *StatusError) passing() bool {
	return e.Code >= 500 || e.Code == http.StatusTooManyRequests || e.Code == http.StatusRequestTimeout
}

// A permanentError is a failure that trying again does not help.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

const (
	defaultAttempts = 6
	defaultStall    = time.Minute
	maxPause        = 30 * time.Second
	// maxRetryAfter is the longest that a server may let us wait.
	maxRetryAfter = 2 * time.Minute
)

func (h HTTP) client() *http.Client {
	if h.Client == nil {
		return http.DefaultClient
	}
	return h.Client
}

// retry calls do until it succeeds, fails for good, or has failed too often.
// What do returns as gained says that it was not in vain.
func (h HTTP) retry(ctx context.Context, do func(context.Context) (gained bool, err error)) error {
	attempts := h.Attempts
	if attempts <= 0 {
		attempts = defaultAttempts
	}
	for failures := 1; ; failures++ {
		gained, err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var permanent *permanentError
		var status *StatusError
		if errors.As(err, &permanent) || (errors.As(err, &status) && !status.passing()) {
			return err
		}
		if gained {
			failures = 1
		}
		if failures >= attempts {
			return fmt.Errorf("%w; gave up after %d attempts: check the network, or name another mirror in the recipe", err, failures)
		}
		pause := h.pause(failures)
		if status != nil {
			pause = max(pause, min(status.retryAfter, maxRetryAfter))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

func (h HTTP) pause(failures int) time.Duration {
	if h.Backoff != nil {
		return h.Backoff(failures)
	}
	return min(time.Second<<min(failures-1, 10), maxPause)
}

// get sends one request. The caller closes the body, which fails when the
// server sends nothing for too long.
func (h HTTP) get(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	if h.Offline {
		return nil, &permanentError{ErrOffline}
	}
	stall := h.Stall
	if stall <= 0 {
		stall = defaultStall
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("getting %s: the server sent nothing for %s", address, stall))
	})
	stop := func() {
		timer.Stop()
		cancel(nil)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		stop()
		return nil, &permanentError{fmt.Errorf("getting %s: %w", address, err)}
	}
	maps.Copy(req.Header, header)
	// A file is stored as it is: no compression on the way, which would also
	// make ranges ambiguous.
	req.Header.Set("Accept-Encoding", "identity")
	res, err := h.do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		stop()
		err = stripURL(address, err)
		if errors.As(err, new(*tls.CertificateVerificationError)) {
			err = &permanentError{err}
		}
		return nil, err
	}
	res.Body = &watchedBody{ReadCloser: res.Body, ctx: ctx, timer: timer, stall: stall, stop: stop}
	return res, nil
}

// do sends a request. The Debian archive of a recipe may be a folder.
func (h HTTP) do(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "file" {
		return http.NewFileTransport(http.Dir("/")).RoundTrip(req)
	}
	return h.client().Do(req)
}

// stripURL names the address once: that of a [url.Error] is the redirected
// one, and may hold the signature of a storage service.
func stripURL(address string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("getting %s: %w", address, err)
}

// watchedBody is the body of an answer with a limit on the time in which
// nothing comes.
type watchedBody struct {
	io.ReadCloser
	ctx   context.Context
	timer *time.Timer
	stall time.Duration
	stop  func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.timer.Reset(b.stall)
	if err != nil && err != io.EOF && b.ctx.Err() != nil { //nolint:errorlint // io.EOF is returned bare by contract
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.stop()
	return b.ReadCloser.Close()
}

// statusError is what an answer other than a success means.
func statusError(address string, res *http.Response) *StatusError {
	return &StatusError{URL: address, Code: res.StatusCode, retryAfter: retryAfter(res.Header)}
}

// retryAfter reads the header of that name: seconds, or a date, which counts
// from the date that the server has itself (RFC 9110, 10.2.3).
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	until, err := http.ParseTime(value)
	now, err2 := http.ParseTime(header.Get("Date"))
	if err != nil || err2 != nil {
		return 0
	}
	return max(until.Sub(now), 0)
}

// Mirror returns the address that is asked in place of another: the one of the
// longest key of mirrors that is all of the address, or its beginning up to a
// slash.
func Mirror(mirrors map[string]string, address string) string {
	keys := slices.SortedFunc(maps.Keys(mirrors), func(a, b string) int { return len(b) - len(a) })
	for _, from := range keys {
		rest, ok := strings.CutPrefix(address, strings.TrimRight(from, "/"))
		if ok && (rest == "" || rest[0] == '/') {
			return strings.TrimRight(mirrors[from], "/") + rest
		}
	}
	return address
}
