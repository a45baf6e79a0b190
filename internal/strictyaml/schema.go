package strictyaml

import (
	"errors"
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
}

// Parse reads, decodes, completes and checks a document. The error is a
// [report.Problems] with every problem of the document; the value is then the
// zero one.
func (s Schema[T]) Parse(file string, data []byte) (T, error) {
	var zero, value T
	doc, err := Parse(file, data)
	if err != nil {
		return zero, err
	}
	if err := doc.Expect(s.APIVersion, s.Kind); err != nil {
		return zero, err
	}
	var problems report.Problems
	if err := doc.Decode(&value); err != nil && !errors.As(err, &problems) {
		return zero, err
	}
	value = s.Default(value)
	problems = append(problems, unrelated(doc.Place(s.Validate(value)), problems)...)
	if err := problems.Err(); err != nil {
		return zero, err
	}
	return value, nil
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
