package store

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// maxConfig bounds what a box may become.
const maxConfig = 64 << 20

// seal encrypts a config with AES-256-GCM by a key that HKDF (RFC 5869) derives
// from a token and the install: the token is nowhere in the store, so neither is
// the key.
func seal(rand io.Reader, token, installID string, config []byte) ([]byte, error) {
	aead, err := box(token, installID)
	if err != nil {
		return nil, err
	}
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(config); err != nil {
		return nil, fmt.Errorf("sealing a config: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sealing a config: %w", err)
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("reading randomness to seal a config: %w", err)
	}
	return aead.Seal(nonce, nonce, compressed.Bytes(), nil), nil
}

// unseal returns the config in a box.
func unseal(token, installID string, sealed []byte) ([]byte, error) {
	aead, err := box(token, installID)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("opening a sealed config: it is cut short")
	}
	nonce, text := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	compressed, err := aead.Open(nil, nonce, text, nil)
	if err != nil {
		return nil, errors.New("opening a sealed config: it was changed, or is for another token")
	}
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("opening a sealed config: %w", err)
	}
	config, err := io.ReadAll(io.LimitReader(r, maxConfig))
	if err != nil {
		return nil, fmt.Errorf("opening a sealed config: %w", err)
	}
	return config, nil
}

func box(token, installID string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(token), []byte(installID), "k8snode config", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of a config: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of a config: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of a config: %w", err)
	}
	return aead, nil
}
