package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one thing that is wrong with a document.
type Problem struct {
	// File is the name of the document as the user gave it.
	File string
	// Line and Col count from 1, Col in characters. A Line of 0 means that
	// the place is not known.
	Line, Col int
	// Path is the field, empty for the document itself.
	Path Path
	// Message says what is wrong, in lower case and without a full stop.
	Message string
	// Remedy says what to write instead; it may be empty.
	Remedy string
}

// String returns the problem as one line,
// "file:line:col: path: message (remedy)", without the parts that are empty.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.place(); place != "" {
		b.WriteString(place + ": ")
	}
	if p.Path != "" {
		b.WriteString(string(p.Path) + ": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString(" (" + p.Remedy + ")")
	}
	return b.String()
}

func (p Problem) place() string {
	parts := make([]string, 0, 3)
	if p.File != "" {
		parts = append(parts, p.File)
	}
	if p.Line > 0 {
		parts = append(parts, strconv.Itoa(p.Line), strconv.Itoa(max(p.Col, 1)))
	}
	return strings.Join(parts, ":")
}

// Problems is a list of problems. As an error it is never empty: return it
// through [Problems.Err].
type Problems []Problem

// Err returns the problems, sorted, as an error, or nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.Sorted()
}

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps))
	for _, p := range ps.Sorted() {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Sorted returns the problems by file, line and column. Problems of one place
// keep their order.
func (ps Problems) Sorted() Problems {
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return sorted
}

// Add appends a problem that knows its path only.
func (ps *Problems) Add(path Path, message, remedy string) {
	*ps = append(*ps, Problem{Path: path, Message: message, Remedy: remedy})
}
