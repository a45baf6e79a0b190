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

	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/store"
)

func (s *Server) serveConfig(w http.ResponseWriter, r *http.Request) {
	const action = "config"
	req, ok := s.identify(w, r, action)
	if !ok {
		return
	}
	claim, err := s.gate.Claim(r.Context(), req.token, req.from)
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	config, err := s.render(r.Context(), claim, req)
	if err != nil {
		s.deny(w, req.m.Name, req.from, action, err)
		return
	}
	body := config.Body
	sha256 := digest(body)
	// Recorded before the first byte leaves, so that nothing leaves without a
	// record.
	event := audit.Event{Node: req.m.Name, Address: req.from, Action: action, Result: "granted", Detail: "sha256 " + sha256}
	if err := s.Audit(event); err != nil {
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
	if err := s.gate.Delivered(context.WithoutCancel(r.Context()), claim, config); err != nil {
		s.failed(req.m.Name, req.from, action, err)
		panic(http.ErrAbortHandler) // A body cut short is what Ignition retries.
	}
	event.Result = "delivered"
	s.record(event)
	if err := sendConfig(w, body[last:]); err != nil {
		s.failed(req.m.Name, req.from, action, err)
		return
	}
	s.log.Info("config delivered", "node", req.m.Name, "address", req.from.String(), "digest", sha256)
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

// render returns the config of a claim, the same bytes every time and from every
// server: the first that was rendered is kept in the store. When it is lost, no
// other is sent in the place of one that was delivered.
func (s *Server) render(ctx context.Context, claim store.Claim, req request) (store.Config, error) {
	config, ok, err := s.gate.Kept(ctx, claim, req.token)
	if err != nil {
		return store.Config{}, err
	}
	if ok && (!claim.Completed || claim.SHA256 == digest(config.Body)) {
		return config, nil
	}
	if claim.Completed {
		return store.Config{}, s.gate.Refuse(ctx, claim.Node, req.from, "the config was delivered and is no longer kept")
	}
	image, err := s.imageOf(ctx, claim.Node, claim.Image, req.from)
	if err != nil {
		return store.Config{}, err
	}
	return s.gate.Render(ctx, claim, req.token, func(report string) ([]byte, error) {
		body, err := s.opts.Config(ctx, ConfigRequest{Node: claim.Node, ReportToken: report, Image: image.Manifest, KeepEtcd: claim.KeepEtcd})
		if err == nil {
			err = checkConfig(body)
		}
		if err != nil {
			return nil, fmt.Errorf("rendering the config of node %q: %w", claim.Node, err)
		}
		return body, nil
	})
}

// forget forgets the config of a node. That it fails is no reason to fail with
// it: what is left cannot be read, and expires.
func (s *Server) forget(ctx context.Context, node string) {
	if err := s.gate.Forget(ctx, node); err != nil {
		s.log.Warn("config not forgotten", "node", node, "error", err)
	}
}

func digest(config []byte) string {
	sum := sha256.Sum256(config)
	return hex.EncodeToString(sum[:])
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
