package images

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/internal/strictyaml"
)

// sourceFields calls use with every field that names a file or folder beside
// the recipe. Use may change the field: those of r are its own.
func (r *Recipe) sourceFields(use func(at report.Path, source *string)) {
	s := &r.Spec
	s.Units, s.Files, s.Containers = slices.Clone(s.Units), slices.Clone(s.Files), slices.Clone(s.Containers)
	visit := func(at report.Path, source *string) {
		if *source != "" {
			use(at, source)
		}
	}
	for i := range s.Units {
		unit := &s.Units[i]
		at := report.Path("spec.units").Index(i)
		visit(at.Field("source"), &unit.Source)
		unit.Dropins = slices.Clone(unit.Dropins)
		for j := range unit.Dropins {
			visit(at.Field("dropins").Index(j).Field("source"), &unit.Dropins[j].Source)
		}
	}
	for i := range s.Files {
		visit(report.Path("spec.files").Index(i).Field("source"), &s.Files[i].Source)
	}
	for i := range s.Containers {
		visit(report.Path("spec.containers").Index(i).Field("layout"), &s.Containers[i].Layout)
	}
}

// sources returns the folder of all sources. A source is looked for in the
// folder of the recipe that names it; where two recipes have one name for two
// files, that of the extended one gets another name in the result.
func (ls links) sources(r Recipe, doc strictyaml.Document) (Recipe, fs.FS) {
	all := sourceFS{}
	for level, l := range ls {
		r.sourceFields(func(at report.Path, source *string) {
			if ls.level(doc.File(at)) != level {
				return
			}
			name := *source
			for n := level; ; n++ {
				have, taken := all[name]
				if !taken || (have.level == level && have.name == *source) {
					break
				}
				name = path.Join(fmt.Sprintf("extends-%d", n), *source)
			}
			all[name] = sourceFile{level: level, folder: l.folder, name: *source}
			*source = name
		})
	}
	return r, all
}

// level returns the recipe that a document is. What is in none is an override,
// which belongs to the first.
func (ls links) level(file string) int {
	return max(slices.IndexFunc(ls, func(l link) bool { return l.file == file }), 0)
}

// sourceFile is where a source is.
type sourceFile struct {
	level  int
	folder fs.FS
	name   string
}

// sourceFS holds sources under the names that a recipe has for them.
type sourceFS map[string]sourceFile

// Open opens a source, or a file in a source that is a folder.
func (s sourceFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	for at := name; at != "."; at = path.Dir(at) {
		if f, ok := s[at]; ok && f.folder != nil {
			return f.folder.Open(path.Join(f.name, strings.TrimPrefix(name, at)))
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
