package rootdev

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
)

const (
	// requestTimeout is for a connection, and for the headers of an answer.
	requestTimeout = 30 * time.Second
	mib            = 1 << 20
	// progressSteps is how many lines a download prints.
	progressSteps = 20
)

// newHTTPClient returns a client that does not check certificates: the bytes
// are checked against the root hash, and a machine without a battery has no
// clock to check a certificate by.
func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: requestTimeout}).DialContext,
		TLSHandshakeTimeout:   requestTimeout,
		ResponseHeaderTimeout: requestTimeout,
		DisableCompression:    true,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
	}}
}

// A download copies a URL to a file.
type download struct {
	client *http.Client
	url    string
	// size is how many bytes there must be.
	size   int64
	file   *os.File
	policy retry.Policy
	// idle is the longest pause of a body.
	idle time.Duration
	say  func(format string, args ...any)

	done int64
	// validator is what the first answer called its version of the file.
	validator string
	shown     int64
}

// run returns when all bytes are in the file. The limit of the policy is for
// the time without any progress.
func (d *download) run(ctx context.Context) error {
	d.show()
	for {
		before := d.done
		err := retry.Do(ctx, d.policy, func(ctx context.Context) error {
			err := d.attempt(ctx)
			if err != nil && !retry.IsPermanent(err) && d.done > before {
				d.say("%v; resuming", err)
				return nil // the next try begins a new count
			}
			return err
		})
		if err != nil {
			return err
		}
		if d.done == d.size {
			return nil
		}
	}
}

// attempt makes one request for what is missing.
func (d *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return retry.Permanent(err)
	}
	if d.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.done))
		if d.validator != "" {
			req.Header.Set("If-Range", d.validator)
		}
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := d.accept(resp); err != nil {
		return err
	}
	idle := time.AfterFunc(d.idle, func() { cancel(fmt.Errorf("the server sent nothing for %v", d.idle)) })
	defer idle.Stop()
	buf := make([]byte, 256<<10)
	for d.done < d.size {
		idle.Reset(d.idle)
		n, err := resp.Body.Read(buf[:min(int64(len(buf)), d.size-d.done)])
		if _, err := d.file.WriteAt(buf[:n], d.done); err != nil {
			return retry.Permanent(fmt.Errorf("keeping the root in memory: %w", err))
		}
		d.done += int64(n)
		d.show()
		if err != nil && d.done < d.size {
			return d.broken(ctx, err)
		}
	}
	return nil
}

func (d *download) broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("getting %s: after %d of %d bytes: %w", redacted(d.url), d.done, d.size, err)
}

// accept checks the head of an answer and where its body belongs.
func (d *download) accept(resp *http.Response) error {
	var start, length int64
	switch resp.StatusCode {
	case http.StatusOK: // also when the file has changed, or ranges are unknown
		start, length = 0, resp.ContentLength
	case http.StatusPartialContent:
		var ok bool
		if start, length, ok = parseRange(resp.Header.Get("Content-Range")); !ok || start != d.done {
			return retry.Permanent(fmt.Errorf("getting %s: asked for bytes from %d, the server answered with %q",
				redacted(d.url), d.done, resp.Header.Get("Content-Range")))
		}
	default:
		err := fmt.Errorf("getting %s: the server answered %s", redacted(d.url), resp.Status)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout {
			return retry.Permanent(err)
		}
		return err
	}
	if length >= 0 && length != d.size {
		return retry.Permanent(fmt.Errorf("getting %s: the file has %d bytes, the root of this kernel command line has %d: "+
			"kernel, initramfs, command line and root must be of one image", redacted(d.url), length, d.size))
	}
	d.done = start
	d.validator = resp.Header.Get("ETag")
	if d.validator == "" || strings.HasPrefix(d.validator, "W/") {
		d.validator = resp.Header.Get("Last-Modified")
	}
	return nil
}

// parseRange reads "bytes 5-9/10" as 5 and 10; the size is -1 when it is "*".
func parseRange(value string) (start, size int64, ok bool) {
	value, ok = strings.CutPrefix(value, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, total, _ := strings.Cut(value, "/")
	first, _, _ := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	if total == "*" {
		return start, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return start, size, err == nil && size >= 0
}

// show prints a line for every step of the whole.
func (d *download) show() {
	step := d.done * progressSteps / d.size
	if d.done > 0 && step == d.shown {
		return
	}
	d.shown = step
	d.say("root: %d of %d MiB (%d%%)", d.done/mib, d.size/mib, d.done*100/d.size)
}

// redacted is the URL without what may be a secret.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the root"
	}
	u.RawQuery = ""
	return u.Redacted()
}
