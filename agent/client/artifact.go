package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
)

// Download reads a whole artifact of at most limit bytes, without the token.
func (c *Client) Download(ctx context.Context, url string, limit int64) ([]byte, error) {
	body, err := c.get(ctx, url, "", http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := readLimited(body, limit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	return data, nil
}

// Range opens length bytes of an artifact from offset, without the token. The
// body may end early when the connection does; the caller counts.
func (c *Client) Range(ctx context.Context, url string, offset, length int64) (io.ReadCloser, error) {
	return c.get(ctx, url, fmt.Sprintf("bytes=%d-%d", offset, offset+length-1), http.StatusPartialContent)
}

func (c *Client) get(ctx context.Context, url, byteRange string, want int) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel(nil)
		return nil, retry.Permanent(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := c.do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode != want {
		defer cancel(nil)
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil, retry.Permanent(fmt.Errorf("GET %s: server ignores Range requests", url))
		}
		return nil, statusError(req, resp)
	}
	if start, ok := strings.CutPrefix(byteRange, "bytes="); ok {
		got := resp.Header.Get("Content-Range")
		if !strings.HasPrefix(got, "bytes "+start+"/") {
			defer cancel(nil)
			defer resp.Body.Close()
			return nil, retry.Permanent(fmt.Errorf("GET %s: asked for %s, server answered Content-Range %q",
				url, byteRange, got))
		}
	}
	body := &watchedBody{body: resp.Body, cancel: cancel, idle: c.idle,
		cause: func() error { return context.Cause(ctx) }}
	body.timer = time.AfterFunc(c.idle, func() {
		cancel(fmt.Errorf("server sent nothing for %v", c.idle))
	})
	body.timer.Stop()
	return body, nil
}

// A watchedBody ends a read that waits longer than idle: a server that loses
// its power sends no reset, and TCP alone would wait for a quarter of an hour.
// The timer runs only inside Read, so a slow disk does not count.
type watchedBody struct {
	body   io.ReadCloser
	cause  func() error // why the request was cancelled, or nil
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(w.idle)
	n, err := w.body.Read(p)
	w.timer.Stop()
	// The end of a body is not believed either once the request is cancelled:
	// a server that is told to stop may still end its answer in good order.
	if err != nil {
		if cause := w.cause(); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (w *watchedBody) Close() error {
	w.timer.Stop()
	defer w.cancel(nil)
	return w.body.Close()
}
