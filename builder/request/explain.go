package request

import (
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
)

// Explain shows packages that do not exist at the place of the recipe that
// names them.
func (j Job) Explain(err error) error {
	missing, others := packageErrors(err)
	if len(missing) == 0 || others {
		return err
	}
	var problems report.Problems
	for _, e := range missing {
		paths := packagePaths(j.Recipe.Spec, e)
		if len(paths) == 0 {
			// It is one that every image needs, and named by no recipe.
			return err
		}
		for _, at := range paths {
			problems.Add(at, e.Error(), "")
		}
	}
	return j.Place(problems).Err()
}

// packageErrors returns the errors about packages that an error is made of,
// and whether it is made of others as well.
func packageErrors(err error) (missing []*source.PackageError, others bool) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand
	case nil:
	case *source.PackageError:
		missing = append(missing, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			more, other := packageErrors(inner)
			missing, others = append(missing, more...), others || other
		}
	case interface{ Unwrap() error }:
		return packageErrors(e.Unwrap())
	default:
		others = true
	}
	return missing, others
}

// packagePaths returns the fields that name a package.
func packagePaths(s images.Spec, e *source.PackageError) []report.Path {
	var paths []report.Path
	if s.Kernel.Package == e.Package && (e.Suite == "" || e.Suite == s.Kernel.Suite) {
		paths = append(paths, "spec.kernel.package")
	}
	list := func(at report.Path, packages []string) {
		for i, p := range packages {
			name, suite, _ := strings.Cut(p, "/")
			if name == e.Package && (e.Suite == "" || suite == e.Suite) {
				paths = append(paths, at.Index(i))
			}
		}
	}
	list("spec.packages", s.Packages)
	for i, c := range s.Containers {
		list(report.Path("spec.containers").Index(i).Field("packages"), c.Packages)
	}
	return slices.Compact(paths)
}
