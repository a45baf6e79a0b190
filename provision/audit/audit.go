package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// An Event is one entry. Empty fields are left out.
type Event struct {
	// Node is the node's name, empty when the request names none.
	Node string
	// Address is where the request came from, not valid for the operator.
	Address netip.Addr
	// Action is what was asked: arm, disarm, seed, plan, config, report; of
	// images publish, activate, remove.
	Action string
	// Result is what became of it: asked, granted, delivered, recorded, refused,
	// failed. What changes what machines get is asked before it is granted.
	Result string
	// Detail is for people. It never holds a secret.
	Detail string
}

// A Tail is the end of a log: what the next line follows.
type Tail struct {
	Seq  int64
	Hash string
}

// A Log appends events to a writer. It is safe for concurrent use; a nil Log
// records nothing.
type Log struct {
	mu     sync.Mutex
	w      io.Writer
	now    func() time.Time
	tail   Tail
	broken error
}

// New returns a log that appends to w after tail, the zero Tail for a new
// one.
func New(w io.Writer, now func() time.Time, tail Tail) *Log {
	return &Log{w: w, now: now, tail: tail}
}

// ErrTakenBack is wrapped by the error of a writer that wrote nothing: what it
// began is gone again.
var ErrTakenBack = errors.New("nothing was written")

// Record appends e. After a failed write the log may end in the middle of a
// line, so that every later Record fails too, unless the writer says
// [ErrTakenBack].
func (l *Log) Record(e Event) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return fmt.Errorf("writing the audit log: an earlier write failed: %w", l.broken)
	}
	next := Line{
		Seq: l.tail.Seq + 1, Time: l.now().UTC(), Node: e.Node,
		Action: e.Action, Result: e.Result, Detail: e.Detail, Prev: l.tail.Hash,
	}
	if e.Address.IsValid() {
		next.Address = e.Address.String()
	}
	hash, err := next.digest()
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	next.Hash = hash
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		if !errors.Is(err, ErrTakenBack) {
			l.broken = err
		}
		return fmt.Errorf("writing the audit log: %w", err)
	}
	l.tail = next.Tail()
	return nil
}

// Tail returns the end of the log.
func (l *Log) Tail() Tail {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail
}

// Verify reads a whole log and returns its end. The error names the first
// line that does not follow from the one before.
func Verify(r io.Reader) (Tail, error) {
	var tail Tail
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		raw, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(raw) == 0 {
			return tail, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Tail{}, fmt.Errorf("reading line %d of the audit log: %w", n, err)
		}
		if err != nil {
			return Tail{}, fmt.Errorf("checking line %d of the audit log: it has no end", n)
		}
		l, err := ReadLine(raw[:len(raw)-1], tail)
		if err != nil {
			return Tail{}, fmt.Errorf("checking line %d of the audit log: %w", n, err)
		}
		tail = l.Tail()
	}
}
