package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// Defaults of Options.
const (
	DefaultTimeout = 30 * time.Second
	DefaultIdle    = 30 * time.Second
)

// planLimit bounds the answer to a plan request: the stub is a few KiB.
const planLimit = 4 << 20

// Options tune a Client.
type Options struct {
	// Timeout is for one plan or report request, and for the headers of an
	// artifact's answer; zero means DefaultTimeout.
	Timeout time.Duration
	// Idle is the longest pause in the body of an artifact; zero means
	// DefaultIdle.
	Idle time.Duration
	// Now is the clock that certificates are checked against; nil means the
	// system's.
	Now func() time.Time
	// Certificate is shown to the server, if there is one.
	Certificate *tls.Certificate
}

// A Client speaks to one server as one machine.
type Client struct {
	seed          api.Seed
	http          *http.Client
	timeout, idle time.Duration
}

// A StatusError is an answer other than the wanted one.
type StatusError struct {
	Method, URL string
	Code        int
	// Message is the beginning of the answer's body.
	Message string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: server answered %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// New makes a client from a seed, after checking that the seed is complete.
func New(seed api.Seed, opts Options) (*Client, error) {
	if seed.Node == "" {
		return nil, errors.New("reading seed: node is empty")
	}
	if seed.Token == "" {
		return nil, errors.New("reading seed: token is empty")
	}
	return open(seed, opts)
}

// open makes a client; the server and its authority must be known.
func open(seed api.Seed, opts Options) (*Client, error) {
	base, err := url.Parse(seed.Server)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("reading seed: server %q is not an https URL", seed.Server)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(seed.CA)) {
		return nil, errors.New("reading seed: ca holds no PEM certificate")
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Idle <= 0 {
		opts.Idle = DefaultIdle
	}
	seed.Server = strings.TrimSuffix(seed.Server, "/")
	var own []tls.Certificate
	if opts.Certificate != nil {
		own = []tls.Certificate{*opts.Certificate}
	}
	return &Client{
		seed:    seed,
		timeout: opts.Timeout,
		idle:    opts.Idle,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:           (&net.Dialer{Timeout: opts.Timeout}).DialContext,
				TLSHandshakeTimeout:   opts.Timeout,
				ResponseHeaderTimeout: opts.Timeout,
				IdleConnTimeout:       90 * time.Second,
				// The image is compressed already, and Range is over its bytes.
				DisableCompression: true,
				TLSClientConfig: &tls.Config{
					RootCAs:      roots,
					Certificates: own,
					MinVersion:   tls.VersionTLS12,
					Time:         opts.Now,
				},
			},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}, nil
}

// Node returns the name of the node that the seed is for.
func (c *Client) Node() string { return c.seed.Node }

// Plan fetches the install plan, once. The caller repeats it with package
// retry.
func (c *Client) Plan(ctx context.Context) (api.InstallPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var plan api.InstallPlan
	body, err := c.call(ctx, http.MethodGet, api.PathInstall, nil)
	if err != nil {
		return plan, fmt.Errorf("fetching install plan: %w", err)
	}
	if err := json.Unmarshal(body, &plan); err != nil {
		return plan, retry.Permanent(fmt.Errorf("reading install plan: %w", err))
	}
	if err := checkPlan(plan, c.seed.Node); err != nil {
		return plan, retry.Permanent(fmt.Errorf("reading install plan: %w", err))
	}
	return plan, nil
}

// Report sends one report, once.
func (c *Client) Report(ctx context.Context, report api.Report) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("internal error: encoding report: %w", err)
	}
	if _, err := c.call(ctx, http.MethodPost, api.PathReport, body); err != nil {
		return fmt.Errorf("reporting phase %s: %w", report.Phase, err)
	}
	return nil
}

// Renew asks for certificates, once.
func (c *Client) Renew(ctx context.Context, request api.RenewRequest) (api.RenewAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var answer api.RenewAnswer
	body, err := json.Marshal(request)
	if err != nil {
		return answer, fmt.Errorf("internal error: encoding request: %w", err)
	}
	if body, err = c.call(ctx, http.MethodPost, api.PathRenew, body); err != nil {
		return answer, fmt.Errorf("fetching certificates: %w", err)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, retry.Permanent(fmt.Errorf("reading certificates: %w", err))
	}
	return answer, nil
}

// call sends one request with the token to the seed's server and returns the
// body of a 2xx answer.
func (c *Client) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.seed.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, retry.Permanent(err)
	}
	if c.seed.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.seed.Token)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, statusError(req, resp)
	}
	return readLimited(resp.Body, planLimit)
}

// do sends req; a certificate that the seed's authority did not sign is a
// permanent error.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			err = fmt.Errorf("%w; if that is not the time, set the clock of this machine in its firmware", err)
		}
		return nil, retry.Permanent(err)
	}
	return resp, err
}

// statusError describes an unwanted answer. Only 5xx is worth another try.
func statusError(req *http.Request, resp *http.Response) error {
	head, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	err := &StatusError{
		Method:  req.Method,
		URL:     req.URL.Redacted(),
		Code:    resp.StatusCode,
		Message: strings.Join(strings.Fields(string(head)), " "),
	}
	if resp.StatusCode >= 500 {
		return err
	}
	return retry.Permanent(err)
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, retry.Permanent(fmt.Errorf("answer is larger than %d bytes", limit))
	}
	return data, nil
}
