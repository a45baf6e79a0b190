package provision

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/store"
)

// configs keeps what was rendered for as long as it may be asked for again, in
// memory only. A server that has lost a delivered config refuses to send
// another in its place.
type configs struct {
	mu        sync.Mutex
	byInstall map[string]*keptConfig
}

type keptConfig struct {
	// mu is held while the config is rendered: the second of two requests at
	// the same time waits for the bytes of the first.
	mu   sync.Mutex
	body []byte

	// node and until are guarded by configs.mu.
	node  string
	until time.Time
}

// of returns the entry of a claim.
func (c *configs) of(claim store.Claim) *keptConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byInstall == nil {
		c.byInstall = make(map[string]*keptConfig)
	}
	k, ok := c.byInstall[claim.InstallID]
	if !ok {
		k = &keptConfig{node: claim.Node}
		c.byInstall[claim.InstallID] = k
	}
	k.until = claim.Until
	return k
}

// keepUntil sets the end of an entry.
func (c *configs) keepUntil(k *keptConfig, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.until = until
}

// drop forgets the configs of a node.
func (c *configs) drop(node string) {
	c.dropIf(func(k *keptConfig) bool { return k.node == node })
}

// sweep forgets the configs that can no longer be asked for.
func (c *configs) sweep(now time.Time) {
	c.dropIf(func(k *keptConfig) bool { return !now.Before(k.until) })
}

func (c *configs) dropIf(gone func(*keptConfig) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, k := range c.byInstall {
		if gone(k) {
			delete(c.byInstall, id)
		}
	}
}

func (s *Server) serveConfig(w http.ResponseWriter, r *http.Request) {
	const action = "config"
	s.configs.sweep(s.opts.Now())
	req, ok := s.identify(w, r, action)
	if !ok {
		return
	}
	claim, err := s.gate.Claim(r.Context(), req.token, req.from)
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	kept := s.configs.of(claim)
	body, err := s.render(r.Context(), kept, claim, req)
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	// Recorded before the first byte leaves, so that nothing leaves without a
	// record.
	event := audit.Event{Node: req.m.Name, Address: req.from, Action: action, Result: "granted", Detail: "sha256 " + digest}
	if err := s.opts.Audit.Record(event); err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.coreos.ignition+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	last := len(body) - 1
	if err := sendConfig(w, body[:last]); err != nil {
		s.failed(req.m.Name, req.from, action, err)
		return
	}
	// The last byte waits for the record: a reader that holds a whole config is
	// one the store knows of, whatever it does next. One that hung up before it
	// may ask again, as any reader may within the time for that.
	//
	// Not the request's context: all that a hung-up reader can still change is
	// the record of what it was sent.
	until, err := s.gate.Delivered(context.WithoutCancel(r.Context()), claim, digest)
	if err != nil {
		s.failed(req.m.Name, req.from, action, err)
		panic(http.ErrAbortHandler) // A body cut short is what Ignition retries.
	}
	s.configs.keepUntil(kept, until)
	event.Result = "delivered"
	s.record(event)
	if err := sendConfig(w, body[last:]); err != nil {
		s.failed(req.m.Name, req.from, action, err)
		return
	}
	s.log.Info("config delivered", "node", req.m.Name, "address", req.from.String(), "digest", digest)
}

// sendConfig writes a part of a config to its reader.
func sendConfig(w http.ResponseWriter, part []byte) error {
	if _, err := w.Write(part); err != nil {
		return fmt.Errorf("sending the config: %w", err)
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return fmt.Errorf("sending the config: %w", err)
	}
	return nil
}

// render returns the bytes of a claim, the same ones every time.
func (s *Server) render(ctx context.Context, kept *keptConfig, claim store.Claim, req request) ([]byte, error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if kept.body != nil {
		return kept.body, nil
	}
	if claim.Completed {
		return nil, s.gate.Refuse(ctx, claim.Node, req.from, "the config was delivered and is no longer kept")
	}
	image, err := s.imageOf(ctx, claim.Node, claim.Image, req.from)
	if err != nil {
		return nil, err
	}
	token, err := s.gate.MintReport(ctx, claim)
	if err != nil {
		return nil, err
	}
	body, err := s.opts.Config(ctx, ConfigRequest{Node: claim.Node, ReportToken: token, Image: image.Manifest})
	if err != nil {
		return nil, fmt.Errorf("rendering the config of node %q: %w", claim.Node, err)
	}
	if err := checkConfig(body); err != nil {
		return nil, fmt.Errorf("rendering the config of node %q: %w", claim.Node, err)
	}
	kept.body = body
	return body, nil
}

// checkConfig refuses what Ignition would boot without: it takes an empty
// answer for an empty config and goes on.
func checkConfig(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("it is empty")
	}
	var config struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal(body, &config); err != nil {
		return errors.New("it is not JSON")
	}
	if config.Ignition.Version == "" {
		return errors.New("it has no ignition.version")
	}
	return nil
}
