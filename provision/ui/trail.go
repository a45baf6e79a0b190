package ui

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/k8snode/k8snode/provision/audit"
)

// maxLine bounds a line of an audit log that is read.
const maxLine = 1 << 20

// recheckEvery is how long after a whole check there is not another.
const recheckEvery = time.Minute

// An Entry is a line of the audit log.
type Entry struct {
	audit.Event
	Seq  int64
	Time time.Time
	// Proved says that the chain holds up to here.
	Proved bool
}

// A Chain says how far the log is what was written.
type Chain struct {
	// Tail is the end of what is proved.
	Tail audit.Tail
	// Broken says why it is not proved to its end; empty when it is.
	Broken string
	// Since is when the log was last read from its beginning. What was appended
	// since then is checked as it comes.
	Since time.Time
}

// An EntryQuery asks for entries, the newest first.
type EntryQuery struct {
	// Node is the name of a node; empty for all entries.
	Node string
	// Before is a position in the log: only what comes before it. 0 begins with
	// the newest.
	Before int
	// Limit is the number of entries.
	Limit int
}

// Entries are an answer.
type Entries struct {
	Entries []Entry
	// Next is the position for the entries that come before these; 0 when there
	// are none.
	Next  int
	Total int
	Chain Chain
}

// A Trail reads an audit log while it grows. Of each entry it remembers only
// where it is. It is safe for concurrent use; a nil Trail is empty.
type Trail struct {
	path string
	now  func() time.Time

	mu    sync.Mutex
	file  os.FileInfo
	read  int64
	refs  []ref
	nodes map[string]int32
	chain Chain
	// proved is how many of refs the chain holds.
	proved int
	// cut says that something happened to the log as a whole. It stays, whatever
	// is there now.
	cut string
}

// ref is where an entry is, and of which node.
type ref struct {
	offset int64
	size   int32
	node   int32
}

// NewTrail returns a trail of the log at path, which need not be there yet.
func NewTrail(path string, now func() time.Time) *Trail { return &Trail{path: path, now: now} }

// Entries returns the entries of a query, after it has read what is new.
func (t *Trail) Entries(ctx context.Context, q EntryQuery) (Entries, error) {
	if t == nil {
		return Entries{}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := t.follow(ctx)
	if err != nil || f == nil {
		return Entries{Chain: t.chain}, err
	}
	defer f.Close()
	answer := Entries{Chain: t.chain, Total: len(t.refs)}
	node, known := t.nodes[q.Node]
	if q.Node != "" && !known {
		return answer, nil
	}
	begin := len(t.refs)
	if q.Before > 0 && q.Before < begin {
		begin = q.Before
	}
	for i := begin - 1; i >= 0; i-- {
		if q.Node != "" && t.refs[i].node != node {
			continue
		}
		if len(answer.Entries) == q.Limit {
			answer.Next = i + 1
			break
		}
		e, err := t.entry(f, i)
		if err != nil {
			return Entries{}, err
		}
		answer.Entries = append(answer.Entries, e)
	}
	return answer, nil
}

// Recheck reads the log from its beginning, unless that was done a moment ago.
func (t *Trail) Recheck(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now().Sub(t.chain.Since) < recheckEvery {
		return nil
	}
	t.forget()
	f, err := t.follow(ctx)
	if f != nil {
		f.Close()
	}
	return err
}

func (t *Trail) forget() {
	t.file, t.read, t.refs, t.nodes, t.proved = nil, 0, nil, nil, 0
	t.chain = Chain{Since: t.now(), Broken: t.cut}
}

// follow reads what was appended, and returns the open log. It is nil when there
// is none.
func (t *Trail) follow(ctx context.Context) (*os.File, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, os.ErrNotExist) {
		if t.file != nil {
			t.cut = "the log was there, and is gone"
		}
		t.forget()
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	if err := t.readOn(ctx, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return f, nil
}

func (t *Trail) readOn(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case t.file == nil:
		t.forget()
	case !os.SameFile(t.file, info):
		t.cut = "another file is in the place of the log"
		t.forget()
	case info.Size() < t.read:
		t.cut = fmt.Sprintf("the log is shorter than it was: it had %d bytes, and has %d", t.read, info.Size())
		t.forget()
	}
	t.file = info
	lines := bufio.NewScanner(io.NewSectionReader(f, t.read, info.Size()-t.read))
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.add(lines.Bytes())
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		t.breakAt("it is too long")
		return nil
	}
	return lines.Err()
}

// wholeLines splits into lines with their ends; the last one may be on its way.
func wholeLines(data []byte, _ bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	return 0, nil, nil
}

// add takes in a line with its end.
func (t *Trail) add(raw []byte) {
	l, err := audit.ReadLine(raw[:len(raw)-1], t.chain.Tail)
	if err != nil {
		t.breakAt(why(err))
	}
	if t.nodes == nil {
		t.nodes = make(map[string]int32)
	}
	node, ok := t.nodes[l.Node]
	if !ok {
		node = int32(len(t.nodes))
		t.nodes[l.Node] = node
	}
	t.refs = append(t.refs, ref{offset: t.read, size: int32(len(raw)), node: node})
	t.read += int64(len(raw))
	if t.chain.Broken == "" {
		t.chain.Tail = l.Tail()
		t.proved = len(t.refs)
	}
}

// breakAt notes that the chain does not hold at the next line. The first such
// line counts.
func (t *Trail) breakAt(reason string) {
	if t.chain.Broken == "" {
		t.chain.Broken = fmt.Sprintf("line %d: %s", len(t.refs)+1, reason)
	}
}

// why is what people are told of a line: no parser's words.
func why(err error) string {
	for _, known := range []error{audit.ErrNoLine, audit.ErrOrder, audit.ErrDigest} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

func (t *Trail) entry(f *os.File, i int) (Entry, error) {
	raw := make([]byte, t.refs[i].size)
	if _, err := f.ReadAt(raw, t.refs[i].offset); err != nil {
		return Entry{}, fmt.Errorf("reading line %d of the audit log: %w", i+1, err)
	}
	// Alone it follows nothing; what the chain proves is known already.
	l, err := audit.ReadLine(raw[:len(raw)-1], audit.Tail{})
	if errors.Is(err, audit.ErrNoLine) {
		return Entry{Event: audit.Event{Action: "?", Result: "?", Detail: "this line is not an entry"}, Seq: int64(i) + 1}, nil
	}
	return Entry{Event: l.Event(), Seq: l.Seq, Time: l.Time, Proved: i < t.proved}, nil
}
