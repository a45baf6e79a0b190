package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"aead.dev/minisign"
)

// A PrivateKey signs.
type PrivateKey struct{ key minisign.PrivateKey }

// Generate makes a key.
func Generate(random io.Reader) (PrivateKey, error) {
	_, key, err := minisign.GenerateKey(random)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("making a key: %w", err)
	}
	return PrivateKey{key}, nil
}

// Public returns the key that checks what p signs.
func (p PrivateKey) Public() Key {
	public, _ := p.key.Public().(minisign.PublicKey) // it is never anything else
	return Key{public}
}

// Seal encrypts a key for a file, as minisign does: that takes one GiB of
// memory and some seconds, and so does every guess at the passphrase.
func (p PrivateKey) Seal(passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, errors.New("encrypting a key: the passphrase is empty")
	}
	sealed, err := minisign.EncryptKey(passphrase, p.key)
	if err != nil {
		return nil, fmt.Errorf("encrypting a key: %w", err)
	}
	return append(sealed, '\n'), nil
}

// Open reads the file of a private key, name. The passphrase is asked for when
// the key is encrypted.
func Open(name string, text []byte, passphrase func() (string, error)) (PrivateKey, error) {
	b, err := payload(text)
	switch {
	case err == nil && len(b) == publicLength:
		return PrivateKey{}, fmt.Errorf("reading a key: %s is a public one: name the private key that belongs to it", name)
	case err != nil || len(b) != privateLength:
		return PrivateKey{}, fmt.Errorf("reading a key: %s is not a private key of minisign: make one with \"k8snode keygen\"", name)
	}
	var p PrivateKey
	if !minisign.IsEncrypted(text) {
		if err := p.key.UnmarshalText(text); err != nil {
			return PrivateKey{}, fmt.Errorf("reading a key: %s: %w", name, err)
		}
		return p, nil
	}
	secret, err := passphrase()
	if err != nil {
		return PrivateKey{}, err
	}
	// Why it cannot be decrypted nobody can tell: that is the point.
	if p.key, err = minisign.DecryptKey(secret, text); err != nil {
		return PrivateKey{}, fmt.Errorf("opening %s: wrong passphrase, or the file is damaged", name)
	}
	return p, nil
}

// Encrypted reports whether the file of a private key is of use to nobody
// without its passphrase.
func Encrypted(text []byte) bool {
	b, err := payload(text)
	return err == nil && len(b) == privateLength && minisign.IsEncrypted(text)
}

// payload is what the line below the comment encodes.
func payload(text []byte) ([]byte, error) {
	line := string(bytes.TrimSpace(text))
	if strings.HasPrefix(line, commentPrefix) {
		_, line, _ = strings.Cut(line, "\n")
	}
	return base64.StdEncoding.DecodeString(strings.TrimSpace(line))
}

// Sign signs a manifest, and a comment of one line, which [Keys.Check] returns.
func (p PrivateKey) Sign(manifest []byte, comment string) ([]byte, error) {
	if strings.ContainsFunc(comment, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
		return nil, fmt.Errorf("signing: the comment %q is not one line of text", comment)
	}
	r := minisign.NewReader(bytes.NewReader(manifest))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	signature := r.SignWithComments(p.key, comment, "signature of a k8snode image, by key "+p.Public().ID())
	// A key whose halves do not belong together makes signatures that nobody accepts.
	if _, err := (Keys{p.Public()}).Check(manifest, signature); err != nil {
		return nil, errors.New("signing: the key is damaged: what it signs cannot be checked")
	}
	return signature, nil
}
