package strictyaml

import (
	"errors"
	"reflect"
	"slices"

	"github.com/k8snode/k8snode/internal/report"
)

// A Schema reads documents of one type.
type Schema[T any] struct {
	// APIVersion and Kind are what a document must say that it is.
	APIVersion, Kind string
	// Default returns the value with its empty fields filled in. It is also
	// called with values that are not valid.
	Default func(T) T
	// Validate returns all that is wrong with a value; its problems need no
	// more than a path. It is also called with a value of which some fields
	// could not be decoded; what it says about those is dropped.
	Validate func(T) report.Problems
	// Lists are the lists that are merged by the names of their elements when
	// a document is laid over another.
	Lists Lists
}

// Parse reads, decodes, completes and checks a document. The error is a
// [report.Problems] with every problem of the document; the value is then the
// zero one.
func (s Schema[T]) Parse(file string, data []byte) (T, error) {
	doc, err := s.Open(file, data)
	if err != nil {
		var zero T
		return zero, err
	}
	return s.Decode(doc)
}

// Open parses a document and checks its apiVersion and kind.
func (s Schema[T]) Open(file string, data []byte) (Document, error) {
	doc, err := Parse(file, data)
	if err != nil {
		return Document{}, err
	}
	return doc, doc.Expect(s.APIVersion, s.Kind)
}

// Overlay returns parent with child laid over it: keys of mappings and named
// elements of lists are added or replaced, everything else is replaced. Child
// removes a key by the value null, an element by {name: NAME, remove: true},
// a text of a list by "-TEXT"; to remove what is not there is a problem, which
// Decode reports. Neither document is changed.
func (s Schema[T]) Overlay(parent, child Document) Document {
	return parent.over(child, s.Lists)
}

// Set returns the document with "path=value" laid over it, as Overlay does
// with a document of that one field. A path is one of a problem, but a list's
// element is named, not counted: spec.modules[example.org/m].version. The file
// of problems is "--set path", as is that of the problems that Decode finds
// with the value; the document is then returned as it was.
func (s Schema[T]) Set(doc Document, assignment string) (Document, report.Problems) {
	changed, problem := doc.set(assignment, reflect.TypeFor[T](), s.Lists)
	if problem != nil {
		return doc, report.Problems{*problem}
	}
	return changed, nil
}

// Decode decodes, completes and checks a document. Warnings are no error, and
// lost here: see [Schema.Check].
func (s Schema[T]) Decode(doc Document) (T, error) {
	value, problems := s.Check(doc)
	if err := problems.Err(); err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// Check is Decode with the warnings. The value is worth something only if no
// problem is an error.
func (s Schema[T]) Check(doc Document) (T, report.Problems) {
	var value T
	var problems report.Problems
	// Decode has no other error.
	_ = errors.As(doc.Decode(&value), &problems)
	value = s.Default(value)
	return value, append(problems, unrelated(doc.Place(s.Validate(value)), problems)...)
}

// unrelated returns the found problems that no earlier one explains: a field
// that could not be decoded is empty, and to say so as well, or to judge the
// whole that it is a part of, helps nobody.
func unrelated(found, earlier report.Problems) report.Problems {
	var kept report.Problems
	for _, p := range found {
		explained := slices.ContainsFunc(earlier, func(e report.Problem) bool {
			return e.Path != "" && (p.Path.Within(e.Path) || e.Path.Within(p.Path))
		})
		if !explained {
			kept = append(kept, p)
		}
	}
	return kept
}
