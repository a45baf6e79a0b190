package pki

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// ErrPassphrase is wrapped by the error of opening a bundle with a passphrase
// that is not its own.
var ErrPassphrase = errors.New("wrong passphrase")

// maxBundle bounds what is read of a bundle; a real one has about 8 KiB.
const maxBundle = 1 << 20

// SealOptions tune Seal.
type SealOptions struct {
	// WorkFactor is the base-2 logarithm of scrypt's cost; zero means age's
	// default, about one second. Tests use 10.
	WorkFactor int
}

// Seal writes the bundle, encrypted with the passphrase, as armored age: a
// text file that `age --decrypt` reads, too.
func Seal(w io.Writer, b Bundle, passphrase string, opts SealOptions) error {
	if err := b.Validate(); err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	// age panics on a work factor out of this range.
	if opts.WorkFactor < 0 || opts.WorkFactor > 22 {
		return fmt.Errorf("sealing secrets: work factor %d is not between 1 and 22", opts.WorkFactor)
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	if opts.WorkFactor > 0 {
		recipient.SetWorkFactor(opts.WorkFactor)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	if err := encrypt(w, append(text, '\n'), recipient); err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	return nil
}

func encrypt(w io.Writer, text []byte, recipient age.Recipient) error {
	armored := armor.NewWriter(w)
	encrypted, err := age.Encrypt(armored, recipient)
	if err != nil {
		return err
	}
	if _, err := encrypted.Write(text); err != nil {
		return err
	}
	if err := encrypted.Close(); err != nil {
		return err
	}
	return armored.Close()
}

// Open reads a bundle that Seal wrote. The error of a wrong passphrase wraps
// [ErrPassphrase].
func Open(r io.Reader, passphrase string) (Bundle, error) {
	b, err := open(r, passphrase)
	if err != nil {
		return Bundle{}, fmt.Errorf("opening secrets: %w", err)
	}
	return b, nil
}

func open(r io.Reader, passphrase string) (Bundle, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Bundle{}, err
	}
	decrypted, err := age.Decrypt(armor.NewReader(io.LimitReader(r, maxBundle)), identity)
	var mismatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &mismatch) && !slices.Contains(mismatch.StanzaTypes, "scrypt"):
		return Bundle{}, errors.New("file is encrypted for a key, not with a passphrase")
	case errors.As(err, &mismatch):
		return Bundle{}, ErrPassphrase
	case err != nil:
		return Bundle{}, err
	}
	text, err := io.ReadAll(decrypted)
	if err != nil {
		return Bundle{}, err
	}
	var b Bundle
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return Bundle{}, fmt.Errorf("reading JSON: %w", err)
	}
	if err := b.Validate(); err != nil {
		return Bundle{}, err
	}
	return b, nil
}
