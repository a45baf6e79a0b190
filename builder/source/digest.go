package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// A DigestError says that bytes are not those that were asked for.
type DigestError struct {
	// Name is what was read, for the operator.
	Name string
	// Got and Want are hexadecimal SHA-256. Got is empty when the sizes differ
	// already, so that nothing was hashed.
	Got, Want string
	// Size is the number of bytes that there are, WantSize that of those that
	// were asked for, 0 if it is not known.
	Size, WantSize int64
	// Remedy says what to do about it; it may be empty.
	Remedy string
}

func (e *DigestError) Error() string {
	text := fmt.Sprintf("%s: wrong size: got %d bytes, want %d with sha256:%s", e.Name, e.Size, e.WantSize, e.Want)
	if e.Got != "" {
		text = fmt.Sprintf("%s: digest mismatch after %d bytes: got sha256:%s, want sha256:%s", e.Name, e.Size, e.Got, e.Want)
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// A Reader reads at most what was pinned: its Read returns a [DigestError]
// where the underlying reader ends on other content, so that a caller that
// sees io.EOF has seen the right bytes.
type Reader struct {
	name, want string
	remedy     string
	r          io.Reader
	h          hash.Hash
	n          int64
}

// NewReader checks r against the hexadecimal SHA-256 want. The name is for
// errors.
func NewReader(name string, r io.Reader, want string) *Reader {
	return &Reader{name: name, want: want, r: r, h: sha256.New()}
}

func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.h.Write(p[:n])
	r.n += int64(n)
	if err == io.EOF { //nolint:errorlint // io.EOF is returned bare by contract
		if got := hex.EncodeToString(r.h.Sum(nil)); got != r.want {
			return n, &DigestError{Name: r.name, Got: got, Want: r.want, Size: r.n, Remedy: r.remedy}
		}
	}
	return n, err
}

// SumBytes returns the hexadecimal SHA-256 of b.
func SumBytes(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// SumJSON returns the hexadecimal SHA-256 of the JSON form of v. Values that
// JSON cannot hold are a mistake of the caller.
func SumJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("internal error: summing %T: %v", v, err))
	}
	return SumBytes(b)
}
