package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of our module.
const Module = "github.com/k8snode/k8snode"

// Source is what the rules look at: the packages by their path in the module.
type Source map[string][]File

// File is one Go file of a package.
type File struct {
	// Name is the path in the module.
	Name string
	// Imports are import paths.
	Imports []string
	// Uses are the names of other packages that the file mentions.
	Uses []Use
}

// Use is one mention of a name of another package.
type Use struct {
	// Name is "import/path.Name".
	Name string
	Line int
}

// Load parses the packages of the module at root, without test files, folders
// named testdata and hidden folders. Modules inside of this one are read when
// their path is that of their folder in ours: then they are ours as well.
func Load(root fs.FS) (Source, error) {
	source := Source{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(root, name)
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parse(root, name)
		if err != nil {
			return err
		}
		source[path.Dir(name)] = append(source[path.Dir(name)], file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	return source, nil
}

func skipFolder(root fs.FS, name string) error {
	if name == "." {
		return nil
	}
	if base := path.Base(name); base == "testdata" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	mod, err := fs.ReadFile(root, path.Join(name, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mod)) {
		if strings.TrimSpace(line) == "module "+Module+"/"+name {
			return nil
		}
	}
	return fs.SkipDir
}

func parse(root fs.FS, name string) (File, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return File{}, err
	}
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	file := File{Name: name}
	names := map[string]string{}
	for _, spec := range syntax.Imports {
		// The parser has checked that it is a string.
		imported, _ := strconv.Unquote(spec.Path.Value)
		file.Imports = append(file.Imports, imported)
		names[localName(spec, imported)] = imported
	}
	ast.Inspect(syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && names[x.Name] != "" {
			file.Uses = append(file.Uses, Use{names[x.Name] + "." + selector.Sel.Name, set.Position(selector.Pos()).Line})
		}
		return true
	})
	return file, nil
}

// localName returns the name by which a file mentions an import. For a
// package that is not called as the last element of its path this is a guess,
// which is right for the standard library, and for math/rand/v2.
func localName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	if dir, base := path.Split(imported); base == "v2" {
		return path.Base(dir)
	}
	return path.Base(imported)
}

// imports returns our packages that pkg imports, sorted.
func (s Source) imports(pkg string) []string {
	var list []string
	for _, f := range s[pkg] {
		for _, imported := range f.Imports {
			if ours, ok := strings.CutPrefix(imported, Module+"/"); ok {
				list = append(list, ours)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
