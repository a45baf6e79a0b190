package images

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/internal/strictyaml"
)

// maxExtends is the number of recipes that may be laid over one another.
const maxExtends = 8

// LoadOptions say how [Load] finds recipes and what it changes.
type LoadOptions struct {
	// Open returns the folder that holds the recipe file at a slash-separated
	// path, and its name in it. Nil means that there are embedded recipes only.
	Open func(file string) (folder fs.FS, name string, err error)
	// Set are overrides, "path=value", that are laid over the recipe in this
	// order. A path is one of a problem, but elements of lists are named:
	// "spec.sysctls.vm.swappiness=10".
	Set []string
}

// Loaded is a recipe with what belongs to it.
type Loaded struct {
	// Recipe is merged, complete and valid.
	Recipe Recipe
	// Sources holds the files that the recipe names, under the names that it
	// has for them, and nothing else.
	Sources fs.FS
	// Files are the documents that the recipe was made from: itself first,
	// then the one that it extends, and so on. Those of embedded recipes begin
	// with "embedded:".
	Files []string

	doc strictyaml.Document
}

// Place returns problems that know their path only, such as those that an
// archive has with a package, with the place in the file that the field is in.
func (l Loaded) Place(problems report.Problems) report.Problems { return l.doc.Place(problems) }

// IsEmbedded reports whether a recipe's name means an embedded one. Every
// other name is the path of a file.
func IsEmbedded(name string) bool { return !strings.ContainsAny(name, "/.") }

// Load reads a recipe by the name of an embedded one or the path of a file,
// lays it over those that it extends, and the overrides over all. An error
// about the content of a recipe or of an override is a report.Problems, each
// at its place in the file that it is in.
func Load(name string, o LoadOptions) (Loaded, error) {
	l := loader{open: o.Open}
	first, err := l.link(name)
	if err != nil {
		return Loaded{}, fmt.Errorf("reading recipe %q: %w", name, err)
	}
	if first.doc, err = schema().Open(first.file, first.data); err != nil {
		return Loaded{}, err
	}
	chain, err := l.chain(first)
	if err != nil {
		return Loaded{}, err
	}
	return chain.merge(o.Set)
}

// link is one recipe of a chain.
type link struct {
	// id is what tells two recipes apart, file what problems name.
	id, file string
	folder   fs.FS
	data     []byte
	doc      strictyaml.Document
}

// links are a recipe and those that it extends, in this order.
type links []link

type loader struct {
	open func(file string) (fs.FS, string, error)
}

// link reads the document of a recipe.
func (l loader) link(name string) (link, error) {
	got := link{id: "embedded:" + name, file: "embedded:" + name + ".yaml"}
	var file string
	var err error
	switch {
	case IsEmbedded(name):
		got.folder, file, err = Open(name)
	case l.open == nil:
		return link{}, fmt.Errorf("only the embedded recipes can be read here: %s", strings.Join(Names(), ", "))
	default:
		got.id, got.file = path.Clean(name), name
		got.folder, file, err = l.open(name)
	}
	if err != nil {
		return link{}, err
	}
	got.data, err = fs.ReadFile(got.folder, file)
	return got, err
}

// chain follows what a recipe extends.
func (l loader) chain(first link) (links, error) {
	all := links{first}
	for {
		last := all[len(all)-1]
		extends := last.doc.Text("extends")
		if extends == "" {
			return all, nil
		}
		next, problem := l.next(all, extends)
		if problem != nil {
			problem.Path = "extends"
			return nil, last.doc.Place(report.Problems{*problem}).Err()
		}
		doc, err := schema().Open(next.file, next.data)
		if err != nil {
			return nil, err
		}
		next.doc = doc
		all = append(all, next)
	}
}

// next returns the recipe that the last one extends.
func (l loader) next(all links, extends string) (link, *report.Problem) {
	last := all[len(all)-1]
	name := extends
	embedded := strings.HasPrefix(last.id, "embedded:")
	switch {
	case IsEmbedded(extends):
	case path.IsAbs(extends):
		return link{}, &report.Problem{Message: fmt.Sprintf("%q is absolute", extends), Remedy: "write a path relative to this file"}
	case embedded:
		return link{}, &report.Problem{Message: fmt.Sprintf("an embedded recipe cannot extend the file %q", extends)}
	default:
		name = path.Join(path.Dir(last.id), extends)
		// A name without a slash or dot would be an embedded one's.
		if IsEmbedded(name) {
			name = "./" + name
		}
	}
	next, err := l.link(name)
	if err != nil {
		problem := report.Problem{Message: fmt.Sprintf("reading %q: %v", extends, err)}
		if IsEmbedded(extends) {
			problem.Message = fmt.Sprintf("there is no embedded recipe %q", extends)
			problem.Remedy = "use one of " + strings.Join(Names(), ", ") + ", or a path such as ./" + extends + ".yaml"
		}
		return link{}, &problem
	}
	if slices.ContainsFunc(all, func(l link) bool { return l.id == next.id }) {
		return link{}, &report.Problem{
			Message: "the recipe extends itself: " + all.String() + " -> " + next.file,
			Remedy:  "let the last of them extend another, or none",
		}
	}
	if len(all) == maxExtends {
		return link{}, &report.Problem{
			Message: fmt.Sprintf("more than %d recipes extend one another: %s -> %s", maxExtends, all, next.file),
		}
	}
	return next, nil
}

func (ls links) String() string { return strings.Join(ls.files(), " -> ") }

func (ls links) files() []string {
	files := make([]string, 0, len(ls))
	for _, l := range ls {
		files = append(files, l.file)
	}
	return files
}

// merge lays each recipe over the one that it extends, and the overrides over
// all.
func (ls links) merge(set []string) (Loaded, error) {
	s := schema()
	doc := ls[len(ls)-1].doc
	for i := len(ls) - 2; i >= 0; i-- {
		doc = s.Overlay(doc, ls[i].doc)
	}
	var problems report.Problems
	for _, assignment := range set {
		var wrong report.Problems
		doc, wrong = s.Set(doc, assignment)
		problems = append(problems, wrong...)
	}
	recipe, err := s.Decode(doc)
	var more report.Problems
	if err != nil && !errors.As(err, &more) {
		return Loaded{}, err
	}
	if err := append(problems, more...).Err(); err != nil {
		return Loaded{}, err
	}
	recipe.Extends = ""
	recipe, sources := ls.sources(recipe, doc)
	return Loaded{Recipe: recipe, Sources: sources, Files: ls.files(), doc: doc}, nil
}
