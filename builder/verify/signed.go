package verify

import (
	"errors"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
)

// Remedies of signatures.
const (
	signAgain  = "if you vouch for the image, sign it: k8snode sign"
	remedyKeys = "if it is of somebody whom you trust, name the public key; if you vouch for the image yourself, sign it: k8snode sign"
)

// signed checks who signed the manifest, which has the digests of all that is
// checked after it.
func (v *verifier) signed() {
	v.now("signature", images.SignatureFile, func() error {
		sig, err := images.OpenSignature(v.dir)
		if err != nil {
			return err
		}
		if len(v.o.Keys) == 0 {
			return v.unchecked(sig)
		}
		who, err := v.o.Keys.Check(v.text, sig)
		switch {
		case errors.Is(err, signature.ErrUnsigned):
			v.add(images.SignatureFile, signAgain, "it is missing: the image is not signed")
		case errors.Is(err, signature.ErrForeign):
			v.add(images.SignatureFile, remedyKeys, "%v", err)
		case err != nil:
			v.add(images.SignatureFile, signAgain, "%v", err)
		default:
			v.report.SignedBy = who.KeyID
		}
		return nil
	})
}

// unchecked says whose a signature claims to be.
func (v *verifier) unchecked(sig []byte) error {
	who, err := signature.Read(sig)
	switch {
	case errors.Is(err, signature.ErrUnsigned):
	case err != nil:
		v.add(images.SignatureFile, signAgain, "%v", err)
	default:
		v.note("%s says that key %s signed the image: without that key it was not checked", images.SignatureFile, who.KeyID)
	}
	return nil
}
