package ignition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// A Config is one immutable Ignition config. Its zero value is no config; New
// makes one.
type Config struct {
	text *text
}

// text is behind a pointer so that %v of a Config prints an address and not
// private keys.
type text struct {
	json []byte
	spec string
}

// New makes a Config of JSON. It checks that the JSON is one object that
// declares a version, and leaves the rest to package check.
func New(content []byte) (Config, error) {
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if len(content) == 0 {
		return Config{}, errors.New("reading Ignition config: it is empty")
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return Config{}, fmt.Errorf("reading Ignition config: %w", err)
	}
	if head.Ignition.Version == "" {
		return Config{}, errors.New("reading Ignition config: it declares no ignition.version")
	}
	return Config{&text{json: bytes.Clone(content), spec: head.Ignition.Version}}, nil
}

// Bytes returns a copy of the JSON, nil for the zero Config.
func (c Config) Bytes() []byte {
	if c.text == nil {
		return nil
	}
	return bytes.Clone(c.text.json)
}

// Spec returns the version of the config specification, for instance 3.4.0.
func (c Config) Spec() string {
	if c.text == nil {
		return ""
	}
	return c.text.spec
}

// Digest returns the SHA-256 of Bytes, 64 lower-case hexadecimal digits. With
// "sha256-" before it, it is a verification.hash of Ignition (3.1 and later).
func (c Config) Digest() string {
	sum := sha256.Sum256(c.Bytes())
	return hex.EncodeToString(sum[:])
}

// LogValue makes slog write the version and the digest, never the content.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("spec", c.Spec()), slog.String("digest", c.Digest()))
}
