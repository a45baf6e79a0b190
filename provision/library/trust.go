package library

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// ErrUntrusted is wrapped by errors about an image that none of the keys of a
// library signed.
var ErrUntrusted = errors.New("the image is not trusted")

// An untrustedError says why an image is refused. It is an [ErrUntrusted].
type untrustedError struct {
	id  string
	why error
}

func (e *untrustedError) Error() string {
	return fmt.Sprintf("image %q is refused: %v; sign it with \"k8snode sign\" and a key that is trusted here, and publish it again", e.id, e.why)
}

func (e *untrustedError) Unwrap() []error { return []error{ErrUntrusted, e.why} }

// Keys are those of the options.
func (l *Library) Keys() signature.Keys { return l.keys }

// Trusted says why an image must not be installed: none of the library's keys
// signed it. Without keys every image may.
func (l *Library) Trusted(i Image) error {
	return l.trusted(i.Manifest.ID, Offer{Manifest: i.Text, Signature: i.Signature})
}

func (l *Library) trusted(id string, o Offer) error {
	if len(l.keys) == 0 {
		return nil
	}
	if _, err := l.keys.Check(o.Manifest, o.Signature); err != nil {
		return &untrustedError{id, err}
	}
	return nil
}

// sign gives an image that is there the signature of an offer.
func (l *Library) sign(one Image, o Offer) error {
	if len(o.Signature) == 0 || bytes.Equal(one.Signature, o.Signature) {
		return nil
	}
	if !bytes.Equal(one.Text, o.Manifest) {
		return errors.New("it is here with other words in its manifest, so the signature is not one of it: remove it first")
	}
	return atomicfile.Write(filepath.Join(one.Dir, images.SignatureFile), o.Signature, 0o644)
}
