package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rules are the tables that a Source is checked with. A pattern is the path of
// a package of ours, or "path/..." for it and all below it.
type Rules struct {
	Packages []Package
	// Planned are rows of packages that need not exist yet.
	Planned []Package
	Areas   []Area
	Owners  []Owner
	Bans    []Ban
}

// Package says which packages of ours a package may import.
type Package struct {
	Path string
	May  []string
	Why  string
}

// Area is a group of packages that must not reach others, by any chain of
// imports.
type Area struct {
	Name     string
	Packages []string
	Never    []string
	// Except are packages of Never that may be reached.
	Except []string
	Why    string
}

// Owner says which packages may import a dependency: the module or package
// path and all below it.
type Owner struct {
	Dependency string
	Packages   []string
	Why        string
}

// Ban names things that packages must get as arguments.
type Ban struct {
	// Names are "import/path.Name", or "import/path.*" for all of a package.
	Names []string
	// Allowed are names of these packages that are no harm.
	Allowed []string
	// Except are the packages that may use them.
	Except []string
	Why    string
}

// Check returns one line for each violation, sorted.
func (r Rules) Check(s Source) []string {
	var violations []string
	add := func(format string, args ...any) {
		violations = append(violations, fmt.Sprintf(format, args...))
	}
	r.checkTable(s, add)
	for _, pkg := range slices.Sorted(maps.Keys(s)) {
		r.checkImports(s, pkg, add)
		for _, area := range r.Areas {
			area.check(s, pkg, add)
		}
		for _, file := range s[pkg] {
			for _, owner := range r.Owners {
				owner.check(pkg, file, add)
			}
			for _, ban := range r.Bans {
				ban.check(pkg, file, add)
			}
		}
	}
	slices.Sort(violations)
	return violations
}

type addFunc func(format string, args ...any)

// checkTable checks that the table and the source have the same packages.
func (r Rules) checkTable(s Source, add addFunc) {
	rows := map[string]bool{}
	for _, row := range slices.Concat(r.Packages, r.Planned) {
		if rows[row.Path] {
			add("%s: two rows in the table", row.Path)
		}
		rows[row.Path] = true
		if row.Why == "" {
			add("%s: a row without a reason", row.Path)
		}
	}
	for _, row := range r.Packages {
		if len(s[row.Path]) == 0 {
			add("%s: a row without a package", row.Path)
		}
	}
	for pkg := range s {
		if !rows[pkg] {
			add("%s: a package without a row", pkg)
		}
	}
}

func (r Rules) checkImports(s Source, pkg string, add addFunc) {
	for _, row := range slices.Concat(r.Packages, r.Planned) {
		if row.Path != pkg {
			continue
		}
		for _, imported := range s.imports(pkg) {
			if !matches(row.May, imported) {
				add("%s: imports %s, its row does not allow it (%s)", pkg, imported, row.Why)
			}
		}
	}
}

func (a Area) check(s Source, pkg string, add addFunc) {
	if !matches(a.Packages, pkg) {
		return
	}
	// A breadth-first search finds a shortest chain.
	chains := [][]string{{pkg}}
	visited := map[string]bool{pkg: true}
	for len(chains) > 0 {
		chain := chains[0]
		chains = chains[1:]
		for _, imported := range s.imports(chain[len(chain)-1]) {
			if visited[imported] {
				continue
			}
			visited[imported] = true
			next := append(slices.Clone(chain), imported)
			if matches(a.Never, imported) && !matches(a.Except, imported) {
				add("%s: %s reaches %s (%s)", pkg, a.Name, strings.Join(next[1:], " -> "), a.Why)
				continue
			}
			chains = append(chains, next)
		}
	}
}

func (o Owner) check(pkg string, file File, add addFunc) {
	if matches(o.Packages, pkg) {
		return
	}
	for _, imported := range file.Imports {
		if matches([]string{o.Dependency + "/..."}, imported) {
			add("%s: imports %s, which only %s may (%s)", file.Name, imported, strings.Join(o.Packages, ", "), o.Why)
		}
	}
}

func (b Ban) check(pkg string, file File, add addFunc) {
	if matches(b.Except, pkg) {
		return
	}
	for _, use := range file.Uses {
		if slices.Contains(b.Allowed, use.Name) {
			continue
		}
		whole := use.Name[:strings.LastIndexByte(use.Name, '.')] + ".*"
		if slices.Contains(b.Names, use.Name) || slices.Contains(b.Names, whole) {
			add("%s:%d: uses %s (%s)", file.Name, use.Line, use.Name, b.Why)
		}
	}
}

// matches reports whether a path matches one of the patterns.
func matches(patterns []string, path string) bool {
	for _, pattern := range patterns {
		if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
			if path == folder || strings.HasPrefix(path, folder+"/") {
				return true
			}
		} else if path == pattern {
			return true
		}
	}
	return false
}
