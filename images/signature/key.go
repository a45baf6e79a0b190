package signature

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"aead.dev/minisign"
)

// Lengths of what minisign encodes with base64.
const (
	publicLength  = 42
	privateLength = 158
)

// commentPrefix begins the first line of all of minisign's files.
const commentPrefix = "untrusted comment:"

// A Key is a public key.
type Key struct{ key minisign.PublicKey }

// ID is the hexadecimal number by which minisign names the key. It is a hint:
// anybody can make a key with any ID.
func (k Key) ID() string { return keyID(k.key.ID()) }

// String returns the key in one line, as "minisign -P" reads it.
func (k Key) String() string { return k.key.String() }

// File returns the content of a file for [ParseKeys], and for "minisign -p".
func (k Key) File() []byte {
	return []byte(commentPrefix + " minisign public key " + k.ID() + "\n" + k.String() + "\n")
}

func keyID(id uint64) string { return strings.ToUpper(strconv.FormatUint(id, 16)) }

// ParseKey reads a public key in one line.
func ParseKey(line string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(line)
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("not a public key of minisign, one line of base64")
	case len(b) == privateLength:
		return Key{}, fmt.Errorf("a private key, which is for nobody else: the public one is wanted")
	}
	var k Key
	if err := k.key.UnmarshalText([]byte(line)); err != nil || len(b) != publicLength {
		return Key{}, fmt.Errorf("not a public key of minisign")
	}
	return k, nil
}

// Keys are public keys, each of which may have signed.
type Keys []Key

// ParseKeys reads a file of public keys: one of minisign's, several of them
// one after another, or lines with a key each. Empty lines, and lines that
// begin with # or as minisign's comments do, are skipped. The errors name
// the file, name, and the line.
func ParseKeys(name string, text []byte) (Keys, error) {
	var keys Keys
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, commentPrefix) {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %s:%d: it is %w", name, n, err)
		}
		keys = keys.With(k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading keys: %s holds no public key: make a pair with \"k8snode keygen\"", name)
	}
	return keys, nil
}

// With returns the keys and those of others that are not among them.
func (ks Keys) With(others ...Key) Keys {
	all := append(Keys(nil), ks...)
	for _, other := range others {
		if !all.has(other) {
			all = append(all, other)
		}
	}
	return all
}

func (ks Keys) has(k Key) bool {
	for _, one := range ks {
		if one.key.Equal(k.key) {
			return true
		}
	}
	return false
}

// Lines returns each key in one line.
func (ks Keys) Lines() []string {
	lines := make([]string, 0, len(ks))
	for _, k := range ks {
		lines = append(lines, k.String())
	}
	return lines
}

// String returns the IDs of the keys, for messages.
func (ks Keys) String() string {
	ids := make([]string, 0, len(ks))
	for _, k := range ks {
		ids = append(ids, k.ID())
	}
	return strings.Join(ids, ", ")
}
