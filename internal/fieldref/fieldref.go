package fieldref

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// Options of [Write].
type Options struct {
	// Empty is a pointer to the document's struct, with one element in every
	// list of structs; [Fill] makes it so.
	Empty any
	// Complete is the same value with its defaults.
	Complete any
	// Required are the paths of fields that have no default: spec.nodes[].name.
	Required []string
	// Sources are the files that hold the types, with their comments.
	Sources []string
}

// Fill gives every list of structs below a pointer to a struct one element, and
// every pointer a struct.
func Fill(document any) { fill(reflect.ValueOf(document).Elem()) }

func fill(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			fill(f.Index(0))
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.New(f.Type().Elem()))
			fill(f.Elem())
		case isStruct(f.Type()):
			fill(f)
		}
	}
}

// Write returns the reference, Markdown. The error names every field that has
// no comment.
func Write(o Options) (string, error) {
	g := &generator{docs: map[string]string{}, paths: map[string]string{}, types: map[string]reflect.Type{}, required: map[string]bool{}}
	for _, file := range o.Sources {
		if err := g.comments(file); err != nil {
			return "", fmt.Errorf("reading comments: %w", err)
		}
	}
	for _, path := range o.Required {
		g.required[path] = true
	}
	empty, complete := reflect.ValueOf(o.Empty).Elem(), reflect.ValueOf(o.Complete).Elem()
	g.names(empty.Type(), "")
	g.section("The document", empty.Type(), "", empty, complete)
	return g.out.String(), errors.Join(g.problems...)
}

type generator struct {
	out      strings.Builder
	docs     map[string]string       // "Type" and "Type.Field"
	paths    map[string]string       // of a type's elements, by its name
	types    map[string]reflect.Type // by name
	required map[string]bool
	problems []error
}

func (g *generator) comments(file string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range decl.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			g.docs[spec.Name.Name] = decl.Doc.Text()
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					g.docs[spec.Name.Name+"."+name.Name] = f.Doc.Text()
				}
			}
		}
	}
	return nil
}

func yamlName(f reflect.StructField) string { return f.Tag.Get("yaml") }

// isStruct reports whether a type is one whose fields are the document's.
func isStruct(typ reflect.Type) bool {
	return typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]() &&
		!decodesItself(typ)
}

// decodesItself reports whether a type is written in a way of its own.
func decodesItself(typ reflect.Type) bool {
	_, ok := reflect.PointerTo(typ).MethodByName("UnmarshalYAML")
	return ok
}

// element returns the struct type that a field leads to, and its path.
func element(f reflect.StructField, path string) (reflect.Type, string, bool) {
	at := strings.TrimPrefix(path+"."+yamlName(f), ".")
	switch typ := f.Type; {
	case typ.Kind() == reflect.Slice && isStruct(typ.Elem()):
		return typ.Elem(), at + "[]", true
	case typ.Kind() == reflect.Pointer && isStruct(typ.Elem()):
		return typ.Elem(), at, true
	case isStruct(typ):
		return typ, at, true
	}
	return nil, at, false
}

// names remembers where each type is, the first place where it occurs.
func (g *generator) names(typ reflect.Type, path string) {
	for i := range typ.NumField() {
		inner, at, ok := element(typ.Field(i), path)
		if !ok {
			continue
		}
		if _, known := g.paths[inner.Name()]; !known {
			g.paths[inner.Name()], g.types[inner.Name()] = at, inner
		}
		g.names(inner, at)
	}
}

// section writes one struct, and then those in it.
func (g *generator) section(title string, typ reflect.Type, path string, empty, complete reflect.Value) {
	fmt.Fprintf(&g.out, "\n## %s\n\n%s\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n", title, g.text(typ, g.docs[typ.Name()]))
	for i := range typ.NumField() {
		f := typ.Field(i)
		inner, at, ok := element(f, path)
		doc := g.docs[typ.Name()+"."+f.Name]
		if doc == "" && !ok {
			g.problems = append(g.problems, fmt.Errorf("%s.%s has no comment", typ.Name(), f.Name))
		}
		kind := typeName(f.Type)
		if ok {
			kind = fmt.Sprintf("[`%s`](#%s)", g.paths[inner.Name()], anchor(g.paths[inner.Name()]))
			if f.Type.Kind() == reflect.Slice {
				kind = "list of " + kind
			}
		}
		fmt.Fprintf(&g.out, "| `%s` | %s | %s | %s |\n", yamlName(f), kind,
			g.defaultOf(at, doc, empty.Field(i), complete.Field(i)), strings.ReplaceAll(g.text(typ, "\x00"+doc), "|", `\|`))
	}
	for i := range typ.NumField() {
		inner, at, ok := element(typ.Field(i), path)
		if !ok {
			continue
		}
		// Two fields of one type have one section.
		if g.paths[inner.Name()] == at {
			g.section("`"+at+"`", inner, at, first(empty.Field(i)), first(complete.Field(i)))
		}
	}
}

// first is the struct that a field leads to.
func first(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Slice:
		return v.Index(0)
	case reflect.Pointer:
		return v.Elem()
	default:
		return v
	}
}

// anchor is what a page of Markdown makes of a heading.
func anchor(path string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "[]", "").Replace(path))
}

func typeName(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case decodesItself(typ):
		return strings.ToLower(typ.Name())
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

func (g *generator) defaultOf(path, doc string, empty, complete reflect.Value) string {
	switch typ := complete.Type(); {
	case g.required[path] && !strings.Contains(doc, "default"):
		return "required"
	case reflect.DeepEqual(empty.Interface(), complete.Interface()), isStruct(typ), typ.Kind() == reflect.Pointer,
		typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
		return ""
	case typ.Kind() == reflect.Uint32:
		return fmt.Sprintf("%#o", complete.Uint())
	case typ.Kind() == reflect.Slice:
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(complete.Interface()), "[]")), ", ")
	}
	return fmt.Sprint(complete.Interface())
}

var fieldWord = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)?\b`)

// text makes a doc comment one line, with the fields under the names that they
// have in the document. That of a field begins with a zero byte: its first word
// is the field, also where the type has the same name.
func (g *generator) text(typ reflect.Type, doc string) string {
	if rest, ok := strings.CutPrefix(doc, "\x00"); ok {
		word, more, _ := strings.Cut(rest, " ")
		if f, ok := typ.FieldByName(word); ok {
			return "`" + yamlName(f) + "` " + g.text(typ, more)
		}
		return g.text(typ, rest)
	}
	return fieldWord.ReplaceAllStringFunc(strings.Join(strings.Fields(doc), " "), func(word string) string {
		owner, field, qualified := strings.Cut(word, ".")
		if inner, ok := g.types[owner]; ok && qualified {
			if f, ok := inner.FieldByName(field); ok {
				return "`" + g.paths[owner] + "." + yamlName(f) + "`"
			}
		}
		if f, ok := typ.FieldByName(word); ok && word != typ.Name() {
			return "`" + yamlName(f) + "`"
		}
		return word
	})
}
