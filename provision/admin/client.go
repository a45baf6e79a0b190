package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// A Client speaks to one server, by its socket or by its site. Its errors wrap
// the sentinels that [Backend] names.
type Client struct {
	http http.Client
	// base begins every URL, token is shown with every request unless it is empty.
	base, token string
}

var _ Backend = (*Client)(nil)

// NewClient returns a client for the socket at path.
func NewClient(path string) *Client {
	return &Client{base: "http://admin", http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		// A tool makes a request or two: no connection is worth keeping.
		DisableKeepAlives:     true,
		ExpectContinueTimeout: 10 * time.Second,
	}}}
}

// Remote says how a server is reached from another machine.
type Remote struct {
	// URL is of the operators' site: https, host and port.
	URL string
	// TLS has the authority of the site, and the certificate of the operator if
	// there is no Token.
	TLS   *tls.Config
	Token string
}

// NewRemoteClient returns a client for the site of a server. It follows no
// redirect: a token is for one host.
func NewRemoteClient(r Remote) (*Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("reading the URL of the server %q: it is not of the form https://HOST:PORT", r.URL)
	}
	return &Client{base: "https://" + u.Host + Prefix, token: r.Token, http: http.Client{
		Transport:     &http.Transport{TLSClientConfig: r.TLS, DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second, TLSHandshakeTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// request makes a request with what the server wants to see.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("making a request to the provisioning server: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// Nodes returns every node, in the order of the inventory.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var nodes []Node
	err := c.do(ctx, http.MethodGet, "/nodes", nil, &nodes)
	return nodes, err
}

// Strangers returns the newest machines that are none of the nodes.
func (c *Client) Strangers(ctx context.Context) ([]Stranger, error) {
	var strangers []Stranger
	err := c.do(ctx, http.MethodGet, "/strangers", nil, &strangers)
	return strangers, err
}

// Arm opens an install window.
func (c *Client) Arm(ctx context.Context, node string, opts ArmOptions) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/arm", armRequest{
		For: opts.For.String(), Image: opts.Image, KeepEtcd: opts.KeepEtcd, Transaction: opts.Transaction, Check: opts.Check,
	}, &n)
	return n, err
}

// Disarm closes the window.
func (c *Client) Disarm(ctx context.Context, node string) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/disarm", nil, &n)
	return n, err
}

// Hold keeps a node from installing in the window that is open.
func (c *Client) Hold(ctx context.Context, node, why string) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/hold", holdRequest{why}, &n)
	return n, err
}

// Release lets a held node install again.
func (c *Client) Release(ctx context.Context, node string) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/release", nil, &n)
	return n, err
}

// Seed mints the install token for a medium.
func (c *Client) Seed(ctx context.Context, node string) (InstallSeed, error) {
	var s InstallSeed
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/seed", nil, &s)
	return s, err
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding a request to the provisioning server: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	return c.send(req, out)
}

// send sends a request and reads the answer.
func (c *Client) send(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the provisioning server: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the provisioning server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return readError(resp.StatusCode, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("reading the provisioning server's answer: %w", err)
	}
	return nil
}
