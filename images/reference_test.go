package images_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/golden"
)

const (
	referenceFile = "../docs/recipe.md"
	generated     = "<!-- From here on, go test ./images -update writes this page from images/recipe.go. -->\n"
)

// The reference is what recipe.go says, and its examples are recipes.
func TestReference(t *testing.T) {
	page, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	written, _, ok := bytes.Cut(page, []byte(generated))
	if !ok {
		t.Fatalf("%s has no line %q", referenceFile, generated)
	}
	golden.Check(t, referenceFile, []byte(string(written)+generated+reference(t)))
}

func TestReferenceExamples(t *testing.T) {
	page := string(read(t, referenceFile))
	examples := fstest.MapFS{}
	block := regexp.MustCompile("(?s)```yaml\n# ([a-z-]+\\.yaml)\n(.*?)```")
	for _, m := range block.FindAllStringSubmatch(page, -1) {
		examples[m[1]] = &fstest.MapFile{Data: []byte(m[2])}
	}
	if len(examples) < 2 {
		t.Fatalf("found %d examples", len(examples))
	}
	for name := range examples {
		if _, err := images.Load("./"+name, images.LoadOptions{Open: open(examples)}); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
	sets := regexp.MustCompile(`--set '([^']*)'`).FindAllStringSubmatch(page, -1)
	if len(sets) < 3 {
		t.Fatalf("found %d overrides", len(sets))
	}
	for _, m := range sets {
		if _, err := images.Load("node", images.LoadOptions{Set: []string{m[1]}}); err != nil {
			t.Errorf("%s:\n%v", m[0], err)
		}
	}
}

// reference writes a section for each struct that a recipe is made of.
func reference(t *testing.T) string {
	t.Helper()
	g := &generator{t: t, docs: comments(t), paths: map[string]string{}, required: map[string]bool{}}
	empty := reflect.New(reflect.TypeFor[images.Recipe]()).Elem()
	fill(empty)
	recipe, ok := empty.Interface().(images.Recipe)
	if !ok {
		t.Fatal("not a recipe")
	}
	g.zero = reflect.ValueOf(recipe)
	g.filled = reflect.ValueOf(recipe.Default())
	// What is wrong with an empty field, and has no default, is required.
	for _, p := range recipe.Default().Validate() {
		if path := strings.ReplaceAll(string(p.Path), "[0]", "[]"); !strings.HasSuffix(path, "[]") {
			g.required[path] = true
		}
	}
	// The decoder asks for these, before anything else.
	g.required["apiVersion"], g.required["kind"] = true, true
	g.names(g.zero.Type(), "")
	g.section("The document", g.zero.Type(), "", g.zero, g.filled)
	return g.out.String()
}

// fill gives every list of structs one element.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			fill(f.Index(0))
			if path := f.Index(0).FieldByName("Path"); path.IsValid() && f.Type() == reflect.TypeFor[[]images.Download]() {
				path.SetString("/path")
			}
		case f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]():
			fill(f)
		}
	}
}

// comments returns the doc comments of recipe.go by "Type" and "Type.Field".
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "recipe.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range decl.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			docs[spec.Name.Name] = decl.Doc.Text()
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						docs[spec.Name.Name+"."+name.Name] = f.Doc.Text()
					}
				}
			}
		}
	}
	return docs
}

type generator struct {
	t            *testing.T
	out          strings.Builder
	docs         map[string]string
	paths        map[string]string // of a type's elements, by its name
	required     map[string]bool
	zero, filled reflect.Value
}

func yamlName(f reflect.StructField) string { return f.Tag.Get("yaml") }

// element returns the struct type that a field leads to, and its path.
func element(f reflect.StructField, path string) (reflect.Type, string, bool) {
	at := strings.TrimPrefix(path+"."+yamlName(f), ".")
	switch typ := f.Type; {
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
		return typ.Elem(), at + "[]", true
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
		return typ, at, true
	}
	return nil, at, false
}

func (g *generator) names(typ reflect.Type, path string) {
	for i := range typ.NumField() {
		if inner, at, ok := element(typ.Field(i), path); ok {
			g.paths[inner.Name()] = at
			g.names(inner, at)
		}
	}
}

// section writes one struct, and then those in it.
func (g *generator) section(title string, typ reflect.Type, path string, zero, filled reflect.Value) {
	fmt.Fprintf(&g.out, "\n## %s\n\n%s\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n", title, g.text(typ, g.docs[typ.Name()]))
	for i := range typ.NumField() {
		f := typ.Field(i)
		_, at, ok := element(f, path)
		doc := g.docs[typ.Name()+"."+f.Name]
		if doc == "" {
			g.t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
		}
		kind := typeName(f.Type)
		if ok {
			kind = fmt.Sprintf("[`%s`](#%s)", at, anchor(at))
			if f.Type.Kind() == reflect.Slice {
				kind = "list of " + kind
			}
		}
		fmt.Fprintf(&g.out, "| `%s` | %s | %s | %s |\n", yamlName(f), kind,
			g.defaultOf(at, doc, zero.Field(i), filled.Field(i)), strings.ReplaceAll(g.text(typ, "\x00"+doc), "|", `\|`))
	}
	for i := range typ.NumField() {
		inner, at, ok := element(typ.Field(i), path)
		if !ok {
			continue
		}
		z, f := zero.Field(i), filled.Field(i)
		if z.Kind() == reflect.Slice {
			z, f = z.Index(0), f.Index(0)
		}
		g.section("`"+at+"`", inner, at, z, f)
	}
}

func anchor(path string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "[]", "").Replace(path))
}

func typeName(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case typ.Kind() == reflect.Slice:
		return "list of text"
	case typ.Kind() == reflect.Map:
		return "texts by key"
	case typ.Kind() == reflect.Bool:
		return "true or false"
	case typ.Kind() == reflect.Uint32:
		return "mode, octal"
	case typ.Kind() == reflect.Int:
		return "number"
	}
	return "text"
}

func (g *generator) defaultOf(path, doc string, zero, filled reflect.Value) string {
	switch typ := filled.Type(); {
	case g.required[path] && !strings.Contains(doc, "default"):
		return "required"
	case reflect.DeepEqual(zero.Interface(), filled.Interface()), typ.Kind() == reflect.Struct,
		typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
		return ""
	case typ.Kind() == reflect.Uint32:
		return fmt.Sprintf("%#o", filled.Uint())
	case typ.Kind() == reflect.Slice:
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(filled.Interface()), "[]")), ", ")
	}
	return fmt.Sprint(filled.Interface())
}

var fieldWord = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)?\b`)

// text makes a doc comment one line, with the fields under the names that
// they have in a recipe. That of a field begins with a zero byte: its first
// word is the field, also where the type has the same name.
func (g *generator) text(typ reflect.Type, doc string) string {
	if rest, ok := strings.CutPrefix(doc, "\x00"); ok {
		first, more, _ := strings.Cut(rest, " ")
		if f, ok := typ.FieldByName(first); ok {
			return "`" + yamlName(f) + "` " + g.text(typ, more)
		}
		return g.text(typ, rest)
	}
	return fieldWord.ReplaceAllStringFunc(strings.Join(strings.Fields(doc), " "), func(word string) string {
		owner, field, qualified := strings.Cut(word, ".")
		if path, ok := g.paths[owner]; ok && qualified {
			if f, ok := fieldOf(owner, field); ok {
				return "`" + path + "." + yamlName(f) + "`"
			}
		}
		if f, ok := typ.FieldByName(word); ok && word != typ.Name() {
			return "`" + yamlName(f) + "`"
		}
		return word
	})
}

func fieldOf(typeName, field string) (reflect.StructField, bool) {
	for _, typ := range []reflect.Type{reflect.TypeFor[images.Container](), reflect.TypeFor[images.Spec](), reflect.TypeFor[images.Disk]()} {
		if typ.Name() == typeName {
			return typ.FieldByName(field)
		}
	}
	return reflect.StructField{}, false
}
