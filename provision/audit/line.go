package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Line is an Event as it is written. Hash is over the same JSON with an empty
// hash.
type Line struct {
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Node    string    `json:"node,omitempty"`
	Address string    `json:"address,omitempty"`
	Action  string    `json:"action"`
	Result  string    `json:"result"`
	Detail  string    `json:"detail,omitempty"`
	Prev    string    `json:"prev"`
	Hash    string    `json:"hash"`
}

// Why a line proves nothing.
var (
	ErrNoLine = errors.New("it is not an entry")
	ErrOrder  = errors.New("it does not follow the line before")
	ErrDigest = errors.New("its digest is wrong")
)

// ReadLine reads a line without its end, and checks that it follows tail. With
// [ErrOrder] and [ErrDigest] the line is what it says of itself.
func ReadLine(raw []byte, tail Tail) (Line, error) {
	var l Line
	if err := json.Unmarshal(raw, &l); err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrNoLine, err)
	}
	if l.Seq != tail.Seq+1 || l.Prev != tail.Hash {
		return l, ErrOrder
	}
	// Compared as bytes: a line may not carry anything that the digest does not
	// cover, such as an unknown or a repeated key.
	same, err := json.Marshal(l)
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrNoLine, err)
	}
	hash, err := l.digest()
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrNoLine, err)
	}
	if hash != l.Hash || !bytes.Equal(same, raw) {
		return l, ErrDigest
	}
	return l, nil
}

func (l Line) digest() (string, error) {
	l.Hash = ""
	b, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Tail is what the next line follows.
func (l Line) Tail() Tail { return Tail{Seq: l.Seq, Hash: l.Hash} }

// Event is what the line records.
func (l Line) Event() Event {
	e := Event{Node: l.Node, Action: l.Action, Result: l.Result, Detail: l.Detail}
	if addr, err := netip.ParseAddr(l.Address); err == nil {
		e.Address = addr
	}
	return e
}
