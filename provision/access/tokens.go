package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/k8snode/k8snode/internal/report"
)

// tokenPrefix begins every token, so that whoever finds one knows what it is.
const tokenPrefix = "k8snode_"

// tokenBytes is the number of random bytes of a token, and of a session.
const tokenBytes = 32

// maxTokenFile bounds what is read of a file of tokens.
const maxTokenFile = 1 << 20

// digest is what is kept of a token or a session.
type digest [sha256.Size]byte

// NewToken makes a token of 256 random bits, and the line for the file of
// tokens. The token itself is kept nowhere: show it once.
func NewToken(rand io.Reader, name string, role Role) (token, line string, err error) {
	if !nameRE.MatchString(name) {
		return "", "", fmt.Errorf("making a token: %q is not a name: use letters, digits and . _ @ -, at most 64", name)
	}
	if !role.Includes(Viewer) {
		return "", "", fmt.Errorf("making a token: there is no role %q: use %s or %s", string(role), Viewer, Operator)
	}
	secret, err := newSecret(rand)
	if err != nil {
		return "", "", fmt.Errorf("making a token: %w", err)
	}
	token = tokenPrefix + secret
	sum := sha256.Sum256([]byte(token))
	return token, fmt.Sprintf("%s %s %x\n", name, role, sum), nil
}

// newSecret returns 256 random bits as text.
func newSecret(rand io.Reader) (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// isToken reports whether a text is of the form of [NewToken]: what somebody
// chose, and could be guessed, is no token, whatever its digest.
func isToken(text string) bool {
	secret, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(secret) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	return err == nil && len(b) == tokenBytes
}

// Tokens are those of a file. The zero value has none.
type Tokens struct{ entries []entry }

type entry struct {
	name   string
	role   Role
	sha256 digest
}

// ParseTokens reads lines of a name, a role and the SHA-256 of a token in
// hexadecimal. Empty lines and those that begin with # are left out. One name
// may have several tokens of one role, so that they can be changed. The error is
// a [report.Problems] with every problem; it does not repeat what could be a
// token.
func ParseTokens(file string, content []byte) (Tokens, error) {
	var t Tokens
	var problems report.Problems
	for i, text := range strings.Split(string(content), "\n") {
		problem := func(message, remedy string) {
			problems = append(problems, report.Problem{File: file, Line: i + 1, Col: 1, Message: message, Remedy: remedy})
		}
		words := strings.Fields(text)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if slices.ContainsFunc(words, isToken) {
			problem("the line has a token", "write its SHA-256 instead, and think about who has read it: a new token is better")
			continue
		}
		if len(words) != 3 {
			problem(fmt.Sprintf("the line has %d words", len(words)), "write: NAME ROLE SHA256-OF-TOKEN")
			continue
		}
		if !nameRE.MatchString(words[0]) {
			problem("the first word is not a name", "use letters, digits and . _ @ -, at most 64")
			continue
		}
		role := Role(words[1])
		if !role.Includes(Viewer) {
			problem("the second word is not a role", fmt.Sprintf("use %s or %s", Viewer, Operator))
			continue
		}
		sum, err := hex.DecodeString(words[2])
		if err != nil || len(sum) != sha256.Size {
			problem("the third word is not a SHA-256", "it has 64 hexadecimal digits")
			continue
		}
		e := entry{words[0], role, digest(sum)}
		for _, other := range t.entries {
			if other.sha256 == e.sha256 {
				problem(fmt.Sprintf("the token is also that of %q", other.name), "give everybody a token of their own")
				break
			}
			if other.name == e.name && other.role != e.role {
				problem(fmt.Sprintf("%q is also %s", e.name, other.role), "give a name one role")
				break
			}
		}
		t.entries = append(t.entries, e)
	}
	if err := problems.Err(); err != nil {
		return Tokens{}, fmt.Errorf("reading the tokens: %w", err)
	}
	return t, nil
}

// Role returns the role of a name; ok is false for one that is not there.
func (t Tokens) Role(name string) (r Role, ok bool) {
	for _, e := range t.entries {
		if e.name == name {
			return e.role, true
		}
	}
	return "", false
}

// find returns whose a token is.
func (t Tokens) find(token string) (entry, bool) {
	if !isToken(token) {
		return entry{}, false
	}
	return t.findDigest(sha256.Sum256([]byte(token)))
}

// findDigest compares with every entry, so that the time says nothing.
func (t Tokens) findDigest(sum digest) (entry, bool) {
	found, at := 0, 0
	for i, e := range t.entries {
		same := subtle.ConstantTimeCompare(sum[:], e.sha256[:])
		at = subtle.ConstantTimeSelect(same, i, at)
		found |= same
	}
	if found == 0 {
		return entry{}, false
	}
	return t.entries[at], true
}

// A TokenFile is a file of tokens that is read anew when it has changed. It is
// safe for concurrent use.
type TokenFile struct {
	path string

	mu     sync.Mutex
	read   os.FileInfo
	tokens Tokens
}

// OpenTokens reads the file of tokens at path. Others may not be able to read
// it: they would see who may do what.
func OpenTokens(path string) (*TokenFile, error) {
	f := &TokenFile{path: path}
	_, err := f.Tokens()
	return f, err
}

// Tokens returns what is in the file now. A file that cannot be read or has an
// error gives no tokens, not those of before: the change may take a token away.
func (f *TokenFile) Tokens() (Tokens, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.Open(f.path)
	if err != nil {
		return Tokens{}, fmt.Errorf("reading the tokens: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Tokens{}, fmt.Errorf("reading the tokens: %w", err)
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 || !mode.IsRegular() {
		return Tokens{}, fmt.Errorf("reading the tokens: %s has the mode %04o, so others can use it: chmod 600 %s", f.path, mode.Perm(), f.path)
	}
	if f.read != nil && os.SameFile(f.read, info) && f.read.ModTime().Equal(info.ModTime()) && f.read.Size() == info.Size() {
		return f.tokens, nil
	}
	f.read = nil
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return Tokens{}, fmt.Errorf("reading the tokens: %w", err)
	}
	if len(content) > maxTokenFile {
		return Tokens{}, fmt.Errorf("reading the tokens: %s has more than %d bytes", f.path, maxTokenFile)
	}
	tokens, err := ParseTokens(f.path, content)
	if err != nil {
		return Tokens{}, err
	}
	f.tokens, f.read = tokens, info
	return tokens, nil
}
