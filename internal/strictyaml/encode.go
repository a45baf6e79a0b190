package strictyaml

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
)

// Marshal writes a value of the types that [Document.Decode] reads as a
// document that it reads back to the same value. Keys are in the order of the
// struct, those of maps sorted; a field with its zero value is left out. A
// value of any other type is a bug of the caller and panics.
func Marshal(value any) ([]byte, error) {
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Struct {
		panic(fmt.Sprintf("internal error: encoding %T, wanted a struct", value))
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(encode(v)); err != nil {
		return nil, fmt.Errorf("encoding a %T: %w", value, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("encoding a %T: %w", value, err)
	}
	return b.Bytes(), nil
}

func encode(v reflect.Value) *yaml.Node {
	scalar := func(tag, value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value} }
	if t, ok := v.Interface().(time.Time); ok {
		return scalar("!!timestamp", t.Format(time.RFC3339))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			n.Content = append(n.Content, encodeText(key.String()), encode(v.MapIndex(key)))
		}
		return n
	case reflect.String:
		return encodeText(v.String())
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return scalar("!!int", strconv.FormatInt(v.Int(), 10))
	case reflect.Uint32:
		return scalar("!!int", fmt.Sprintf("%#04o", v.Uint()))
	default:
		panic(fmt.Sprintf("internal error: encoding a %s", v.Type()))
	}
}

func encodeStruct(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	fields, names := structFields(v.Type())
	for _, name := range names {
		field := v.Field(fields[name])
		if field.IsZero() || ((field.Kind() == reflect.Slice || field.Kind() == reflect.Map) && field.Len() == 0) {
			continue
		}
		n.Content = append(n.Content, encodeText(name), encode(field))
	}
	return n
}

// encodeText quotes what would be read as something else, and writes lines as
// lines where that is sure to be read back.
func encodeText(s string) *yaml.Node {
	var n yaml.Node
	n.SetString(s)
	if n.Style == yaml.LiteralStyle && !isBlock(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return &n
}

// isBlock reports whether s can be written as a literal block: printable lines
// of which the first begins with a letter or sign and the last one ends.
func isBlock(s string) bool {
	if !strings.HasSuffix(s, "\n") || strings.HasSuffix(s, "\n\n") || strings.ContainsRune(" \t\n", rune(s[0])) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}
