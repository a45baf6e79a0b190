package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/k8snode/k8snode/provision/audit"
)

// line is an entry as package audit writes it; a test holds the two together.
type line struct {
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

const notALine = "it is not an entry"

// readLine reads a line without its end, and says why it does not follow tail.
// It is [audit.Verify] for one line: that one begins at the first each time.
func readLine(raw []byte, tail audit.Tail) (l line, reason string) {
	if err := json.Unmarshal(raw, &l); err != nil {
		return line{}, notALine
	}
	if l.Seq != tail.Seq+1 || l.Prev != tail.Hash {
		return l, "it does not follow the line before"
	}
	same, err := json.Marshal(l)
	if err != nil {
		return l, notALine
	}
	blank := l
	blank.Hash = ""
	covered, err := json.Marshal(blank)
	if err != nil {
		return l, notALine
	}
	sum := sha256.Sum256(covered)
	if hex.EncodeToString(sum[:]) != l.Hash || !bytes.Equal(same, raw) {
		return l, "its digest is wrong"
	}
	return l, ""
}

func (l line) event() audit.Event {
	e := audit.Event{Node: l.Node, Action: l.Action, Result: l.Result, Detail: l.Detail}
	if addr, err := netip.ParseAddr(l.Address); err == nil {
		e.Address = addr
	}
	return e
}
