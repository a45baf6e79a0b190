package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Severity says what a problem means for those who want to go on.
type Severity int

// The severities.
const (
	// Error: the document cannot be used.
	Error Severity = iota
	// Warning: it can, and will probably be regretted.
	Warning
)

// String returns the severity in lower case.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// A Problem is one thing that is wrong with a document.
type Problem struct {
	// Severity is Error unless said otherwise.
	Severity Severity
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
// "file:line:col: path: message (remedy)", without the parts that are empty. A
// warning has "warning: " before the path.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.place(); place != "" {
		b.WriteString(place + ": ")
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
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

// Err returns the problems that are errors, sorted, as an error, or nil if
// there are none.
func (ps Problems) Err() error {
	if errors := ps.Of(Error); len(errors) > 0 {
		return errors.Sorted()
	}
	return nil
}

// Of returns the problems of one severity.
func (ps Problems) Of(s Severity) Problems {
	var of Problems
	for _, p := range ps {
		if p.Severity == s {
			of = append(of, p)
		}
	}
	return of
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

// Warn appends a warning that knows its path only.
func (ps *Problems) Warn(path Path, message, remedy string) {
	*ps = append(*ps, Problem{Severity: Warning, Path: path, Message: message, Remedy: remedy})
}
