package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
)

var timeType = reflect.TypeFor[time.Time]()

// Decode fills the struct that into points to by its yaml tags. Fields may be
// strings, bools, ints of any size, uint32 (a file mode, written in octal),
// [time.Time] (RFC 3339), structs, slices, maps from strings, pointers, and
// types with UnmarshalYAML. A string of a map may also be written as a number
// or a bool and is then its source text. A list, mapping or struct without a
// value or without elements is nil; any other field without a value is a problem.
//
// The error is a [report.Problems]; fields with a problem keep their value. A
// field of any other type is a bug of the caller and panics.
func (d Document) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("internal error: decoding into %T, wanted a pointer to a struct", into))
	}
	dec := decoder{doc: d, problems: slices.Clone(d.refused)}
	dec.value(d.root, "", v.Elem())
	return dec.problems.Err()
}

type decoder struct {
	doc      Document
	problems report.Problems
}

func (d *decoder) value(n *yaml.Node, path report.Path, v reflect.Value) {
	custom, isCustom := v.Addr().Interface().(yaml.Unmarshaler)
	switch {
	case d.doc.skipped[n]:
	case isCustom:
		d.unmarshaler(n, path, custom)
	case v.Type() == timeType:
		d.time(n, path, v)
	case v.Kind() == reflect.Pointer:
		if isNull(n) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem())
	case v.Kind() == reflect.Struct:
		d.fields(n, path, v)
	case v.Kind() == reflect.Slice:
		d.slice(n, path, v)
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		d.mapping(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func (d *decoder) fields(n *yaml.Node, path report.Path, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, path, "keys and values", "")
		return
	}
	fields, names := structFields(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := path.Field(key.Value)
		index, ok := fields[key.Value]
		if !ok {
			remedy := "the keys here are " + strings.Join(names, ", ")
			if near := nearest(key.Value, names); near != "" {
				remedy = fmt.Sprintf("did you mean %q?", near)
			}
			d.add(d.doc.of(key), at, fmt.Sprintf("unknown key %q", key.Value), remedy)
			continue
		}
		d.value(value, at, v.Field(index))
	}
}

// structFields returns the index of each tagged field by its key, and the keys
// in the order of the struct.
func structFields(t reflect.Type) (fields map[string]int, names []string) {
	fields = make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" || !t.Field(i).IsExported() {
			continue
		}
		fields[name] = i
		names = append(names, name)
	}
	return fields, names
}

func (d *decoder) slice(n *yaml.Node, path report.Path, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.mismatch(n, path, "a list", "write each element on a line of its own, after a hyphen")
		return
	}
	if len(n.Content) == 0 {
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, path.Index(i), list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) mapping(n *yaml.Node, path report.Path, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, path, "keys and values", "")
		return
	}
	if len(n.Content) == 0 {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := path.Field(key.Value)
		element := reflect.New(v.Type().Elem()).Elem()
		if element.Kind() == reflect.String && value.Kind == yaml.ScalarNode && !isNull(value) && !d.doc.skipped[value] {
			element.SetString(value.Value)
		} else {
			d.value(value, at, element)
		}
		m.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), element)
	}
	v.Set(m)
}

func (d *decoder) unmarshaler(n *yaml.Node, path report.Path, into yaml.Unmarshaler) {
	if isNull(n) {
		d.mismatch(n, path, "a value", "remove the key, or give it a value")
		return
	}
	if err := into.UnmarshalYAML(n); err != nil {
		d.add(d.at(n, path), path, err.Error(), "")
	}
}

func (d *decoder) time(n *yaml.Node, path report.Path, v reflect.Value) {
	const want, remedy = "a time", "write it as 2026-01-31T12:00:00Z"
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.mismatch(n, path, want, remedy)
		return
	}
	t, err := time.Parse(time.RFC3339, n.Value)
	if err != nil {
		d.mismatch(n, path, want, remedy)
		return
	}
	v.Set(reflect.ValueOf(t))
}

func (d *decoder) scalar(n *yaml.Node, path report.Path, v reflect.Value) {
	want, remedy, ok := "", "", false
	scalar := n.Kind == yaml.ScalarNode && !isNull(n)
	switch v.Kind() {
	case reflect.String:
		want = "text"
		tag := n.ShortTag()
		// A date is text here: YAML 1.2 has no type for it.
		if ok = scalar && (tag == "!!str" || tag == "!!timestamp"); ok {
			v.SetString(n.Value)
		} else if scalar {
			remedy = fmt.Sprintf("quote it: %q", n.Value)
		}
	case reflect.Bool:
		want = "true or false"
		if ok = scalar && plain(n) && (n.Value == "true" || n.Value == "false"); ok {
			v.SetBool(n.Value == "true")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		want = "a whole number"
		number, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		// A leading zero is octal to some readers and decimal to others.
		if ok = err == nil && scalar && plain(n) && strconv.FormatInt(number, 10) == n.Value; ok {
			v.SetInt(number)
		}
	case reflect.Uint32:
		want, remedy = "a file mode in octal", "write it as 0644"
		mode, err := parseOctal(n.Value)
		if ok = err == nil && scalar && plain(n); ok {
			v.SetUint(mode)
		}
	default:
		panic(fmt.Sprintf("internal error: decoding %s into a %s", path, v.Type()))
	}
	if !ok {
		switch {
		case isNull(n):
			remedy = "remove the key, or give it a value"
		case v.Kind() != reflect.String && scalar && !plain(n):
			remedy = "write it without quotes"
		}
		d.mismatch(n, path, want, remedy)
	}
}

// parseOctal reads 0644 and 0o644. A number without the leading zero is
// refused.
func parseOctal(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, "0")
	if !ok {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint("0"+strings.TrimPrefix(digits, "o"), 8, 32)
}

func (d *decoder) mismatch(n *yaml.Node, path report.Path, want, remedy string) {
	d.add(d.at(n, path), path, fmt.Sprintf("wanted %s, got %s", want, describe(n)), remedy)
}

func (d *decoder) add(at position, path report.Path, message, remedy string) {
	d.problems = append(d.problems, at.problem(path, message, remedy))
}

// at returns the position at which problems with path are shown.
func (d *decoder) at(n *yaml.Node, path report.Path) position {
	if at, ok := d.doc.positions[path]; ok {
		return at
	}
	return d.doc.of(n)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || (n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null")
}

// plain reports whether a scalar is written without quotes.
func plain(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// describe says what a node is, in the words of a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if isNull(n) {
		return "nothing"
	}
	value := n.Value
	if runes := []rune(value); len(runes) > 40 {
		value = string(runes[:40]) + "..."
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + value
	case "!!bool":
		return "the bool " + value
	default:
		return strconv.Quote(value)
	}
}
