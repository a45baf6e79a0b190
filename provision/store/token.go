package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// tokenBytes is the number of random bytes of a token.
const tokenBytes = 32

// A token is the node's name, a dot and 43 characters of base64url. The name
// is public and saves the search for the node; it grants nothing.
func newToken(rand io.Reader, node string) (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("reading randomness for a token: %w", err)
	}
	return node + "." + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// TokenNode returns the name of the node that a token claims to be for. It
// proves nothing: the methods of [Gate] do.
func TokenNode(token string) (string, bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 1 {
		return "", false
	}
	// Strict, and the length: the decoder skips line breaks, and several texts
	// would stand for the same bytes.
	secret := token[i+1:]
	b, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	if err != nil || len(b) != tokenBytes || len(secret) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return "", false
	}
	return token[:i], true
}

func credential(token, installID string, expires time.Time) Credential {
	sum := sha256.Sum256([]byte(token))
	return Credential{SHA256: hex.EncodeToString(sum[:]), InstallID: installID, Expires: expires}
}

// is reports whether token is the one that c was made of.
func (c Credential) is(token string) bool {
	if c.SHA256 == "" {
		return false
	}
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare([]byte(c.SHA256), []byte(hex.EncodeToString(sum[:]))) == 1
}

// valid is is, for the install that is under way and before the expiry.
func (c Credential) valid(token, installID string, now time.Time) bool {
	return c.is(token) && installID != "" && c.InstallID == installID && now.Before(c.Expires)
}
