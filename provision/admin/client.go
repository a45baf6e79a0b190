package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// A Client speaks to the server behind one socket. Its errors wrap the
// sentinels that [Backend] names.
type Client struct {
	http http.Client
}

var _ Backend = (*Client)(nil)

// NewClient returns a client for the socket at path.
func NewClient(path string) *Client {
	return &Client{http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		// A tool makes a request or two: no connection is worth keeping.
		DisableKeepAlives:     true,
		ExpectContinueTimeout: 10 * time.Second,
	}}}
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

// Arm opens an install window of the given length.
func (c *Client) Arm(ctx context.Context, node string, window time.Duration) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/arm", armRequest{For: window.String()}, &n)
	return n, err
}

// Disarm closes the window.
func (c *Client) Disarm(ctx context.Context, node string) (Node, error) {
	var n Node
	err := c.do(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/disarm", nil, &n)
	return n, err
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
	return c.send(ctx, method, path, body, out)
}

// send is do for a body that is encoded.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return fmt.Errorf("making a request to the provisioning server: %w", err)
	}
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
