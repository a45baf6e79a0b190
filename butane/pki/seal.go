package pki

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
)

// ErrPassphrase is wrapped by the error of opening a bundle with a passphrase
// that is not its own.
var ErrPassphrase = errors.New("wrong passphrase")

// maxBundle bounds what is read of a bundle; a real one has about 8 KiB.
const maxBundle = 1 << 20

// SealOptions tune Seal.
type SealOptions struct {
	// Recipients are public keys of age (age1...) or of SSH, as "age -r" takes
	// them: whoever has the private key of one can open the bundle. There is no
	// passphrase then.
	Recipients []string
	// WorkFactor is the base-2 logarithm of scrypt's cost; zero means age's
	// default, about one second. Tests use 10.
	WorkFactor int
}

// Seal writes the bundle, encrypted with the passphrase or for the recipients of
// the options, as armored age: a text file that `age --decrypt` reads, too.
func Seal(w io.Writer, b Bundle, passphrase string, opts SealOptions) error {
	if err := b.Validate(); err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	// age panics on a work factor out of this range.
	if opts.WorkFactor < 0 || opts.WorkFactor > 22 {
		return fmt.Errorf("sealing secrets: work factor %d is not between 1 and 22", opts.WorkFactor)
	}
	recipients, err := opts.recipients(passphrase)
	if err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	if err := encrypt(w, append(text, '\n'), recipients); err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	return nil
}

func (o SealOptions) recipients(passphrase string) ([]age.Recipient, error) {
	if len(o.Recipients) == 0 {
		recipient, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return nil, err
		}
		if o.WorkFactor > 0 {
			recipient.SetWorkFactor(o.WorkFactor)
		}
		return []age.Recipient{recipient}, nil
	}
	if passphrase != "" {
		return nil, errors.New("age knows either a passphrase or recipients, not both")
	}
	var all []age.Recipient
	for _, text := range o.Recipients {
		recipient, err := parseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %q: %w", text, err)
		}
		all = append(all, recipient)
	}
	return all, nil
}

func parseRecipient(text string) (age.Recipient, error) {
	if strings.HasPrefix(text, "ssh-") {
		return agessh.ParseRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}

func encrypt(w io.Writer, text []byte, recipients []age.Recipient) error {
	armored := armor.NewWriter(w)
	encrypted, err := age.Encrypt(armored, recipients...)
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

// Open reads a bundle that was sealed with a passphrase. The error of a wrong one
// wraps [ErrPassphrase].
func Open(r io.Reader, passphrase string) (Bundle, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Bundle{}, fmt.Errorf("opening secrets: %w", err)
	}
	b, err := open(r, identity)
	var mismatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &mismatch) && !slices.Contains(mismatch.StanzaTypes, scrypt):
		err = errors.New("file is encrypted for a key, not with a passphrase")
	case errors.As(err, &mismatch):
		err = ErrPassphrase
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("opening secrets: %w", err)
	}
	return b, nil
}

// OpenWith reads a bundle that was sealed for a recipient. Identities is the
// content of a file that age-keygen wrote, or of a private key of SSH without
// passphrase.
func OpenWith(r io.Reader, identities []byte) (Bundle, error) {
	keys, err := parseIdentities(identities)
	if err != nil {
		return Bundle{}, fmt.Errorf("opening secrets: %w", err)
	}
	b, err := open(r, keys...)
	var mismatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &mismatch) && slices.Contains(mismatch.StanzaTypes, scrypt):
		err = errors.New("file is encrypted with a passphrase, not for a key")
	case errors.As(err, &mismatch):
		err = errors.New("file is encrypted for another key")
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("opening secrets: %w", err)
	}
	return b, nil
}

// scrypt is age's word for a passphrase.
const scrypt = "scrypt"

func parseIdentities(content []byte) ([]age.Identity, error) {
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("-----BEGIN")) {
		key, err := agessh.ParseIdentity(content)
		if err != nil {
			return nil, fmt.Errorf("reading the identity: %w", err)
		}
		return []age.Identity{key}, nil
	}
	keys, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	return keys, nil
}

func open(r io.Reader, identities ...age.Identity) (Bundle, error) {
	decrypted, err := age.Decrypt(armor.NewReader(io.LimitReader(r, maxBundle)), identities...)
	if err != nil {
		return Bundle{}, err
	}
	text, err := io.ReadAll(decrypted)
	if err != nil {
		return Bundle{}, err
	}
	if err := readable(text); err != nil {
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

// readable refuses a bundle of another version before its keys are looked at: a
// newer one has some that this program does not know.
func readable(text []byte) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if head.Kind == Kind && head.APIVersion != APIVersion && strings.HasPrefix(head.APIVersion, apiGroup) {
		return fmt.Errorf("they are of version %s, and this k8snode reads %s: use a newer k8snode", head.APIVersion, APIVersion)
	}
	return nil
}
