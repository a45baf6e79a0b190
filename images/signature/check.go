package signature

import (
	"errors"
	"fmt"

	"aead.dev/minisign"
)

// Suffix is what the name of a signature has after that of the signed file.
const Suffix = ".minisig"

// MaxSize bounds a signature in bytes; minisign's own comments end at 8192.
const MaxSize = 16 << 10

// Errors that [Keys.Check] wraps.
var (
	// ErrUnsigned: there is no signature.
	ErrUnsigned = errors.New("it is not signed")
	// ErrForeign: none of the keys made the signature.
	ErrForeign = errors.New("no trusted key signed it")
	// ErrBroken: the signature is one of other bytes, or was changed itself.
	ErrBroken = errors.New("the signature is wrong: it or the manifest was changed after it was signed")
)

// A Signer says who signed.
type Signer struct {
	// KeyID is that of [Key.ID].
	KeyID string
	// Comment is signed as well. It is in one line.
	Comment string
}

// Read returns who claims to have signed. Nothing is checked but the form.
func Read(signature []byte) (Signer, error) {
	_, who, err := read(signature)
	return who, err
}

func read(signature []byte) (minisign.Signature, Signer, error) {
	var s minisign.Signature
	if len(signature) == 0 {
		return s, Signer{}, ErrUnsigned
	}
	if len(signature) > MaxSize {
		return s, Signer{}, fmt.Errorf("the signature has %d bytes, more than the %d that one may have", len(signature), MaxSize)
	}
	if err := s.UnmarshalText(signature); err != nil {
		return s, Signer{}, fmt.Errorf("the signature is not one of minisign: %w", err)
	}
	return s, Signer{KeyID: keyID(s.KeyID), Comment: s.TrustedComment}, nil
}

// Check returns which of the keys signed a manifest. An empty signature is
// [ErrUnsigned].
func (ks Keys) Check(manifest, signature []byte) (Signer, error) {
	s, who, err := read(signature)
	if err != nil {
		return Signer{}, err
	}
	known := false
	for _, k := range ks {
		if k.key.ID() != s.KeyID {
			continue
		}
		known = true
		if minisign.Verify(k.key, manifest, signature) {
			return who, nil
		}
	}
	if !known {
		return Signer{}, fmt.Errorf("%w: the signature is of key %s, trusted are: %s", ErrForeign, who.KeyID, ks)
	}
	return Signer{}, fmt.Errorf("%w (key %s)", ErrBroken, who.KeyID)
}
