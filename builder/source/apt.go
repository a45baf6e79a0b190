package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A PackageError says that the archive has no package of that name.
type PackageError struct {
	// Package is the name; Suite is the one that it was looked for in, empty
	// for any of the archive's.
	Package, Suite string
	// Suites are all that the archive has.
	Suites []string
}

func (e *PackageError) Error() string {
	if e.Suite != "" {
		return fmt.Sprintf("there is no package %s in the suite %s", e.Package, e.Suite)
	}
	return fmt.Sprintf("there is no package %s in %s", e.Package, strings.Join(e.Suites, ", "))
}

// A MirrorError says that an archive could not be read.
type MirrorError struct {
	Mirror string
	// Reason is what apt says about it.
	Reason string
	Err    error
}

func (e *MirrorError) Error() string {
	return fmt.Sprintf("reading the package lists of %s: %s; name another mirror, or bake with --offline if everything is cached", e.Mirror, e.Reason)
}

func (e *MirrorError) Unwrap() error { return e.Err }

// Lock waits until no other process resolves with the lists in a.Dir, and
// returns a function that lets the next one.
func (a Archive) Lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(a.Dir), 0o755); err != nil {
		return nil, fmt.Errorf("locking the package lists: %w", err)
	}
	f, err := os.OpenFile(a.Dir+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the package lists: %w", err)
	}
	if err := lockFile(ctx, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the package lists: %w", err)
	}
	return func() { f.Close() }, nil
}

// aptErrors returns the lines in which apt says what is wrong.
func aptErrors(err error) []string {
	var failed *CommandError
	if !errors.As(err, &failed) {
		return nil
	}
	var lines []string
	for line := range strings.Lines(failed.Output) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "E: ")
		if ok && !slices.Contains(lines, text) {
			lines = append(lines, text)
		}
	}
	return lines
}

// What apt says about what it does not find.
var (
	noPackage   = regexp.MustCompile(`^Unable to locate package (\S+)$`)
	noCandidate = regexp.MustCompile(`^Package '(\S+)' has no installation candidate$`)
	noSuite     = regexp.MustCompile(`^Release '(\S+)' for '(\S+)' was not found$`)
)

// resolveError turns what apt says into errors about packages.
func (a Archive) resolveError(err error) error {
	var missing []error
	lines := aptErrors(err)
	for _, line := range lines {
		e := &PackageError{Suites: a.Suites}
		if m := noPackage.FindStringSubmatch(line); m != nil {
			e.Package = m[1]
		} else if m := noCandidate.FindStringSubmatch(line); m != nil {
			e.Package = m[1]
		} else if m := noSuite.FindStringSubmatch(line); m != nil {
			e.Suite, e.Package = m[1], m[2]
		} else {
			continue
		}
		missing = append(missing, e)
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	return err
}

// updateError says why the lists could not be read, in one line.
func (a Archive) updateError(err error) error {
	var reasons []string
	for _, line := range aptErrors(err) {
		if !strings.HasPrefix(line, "Some index files failed") {
			reasons = append(reasons, strings.Join(strings.Fields(line), " "))
		}
	}
	if len(reasons) == 0 {
		return fmt.Errorf("updating the package lists of %s: %w", strings.Join(a.Suites, ", "), err)
	}
	return &MirrorError{Mirror: a.Mirror, Reason: reasons[0], Err: err}
}
