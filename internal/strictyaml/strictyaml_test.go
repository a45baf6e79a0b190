package strictyaml_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/internal/strictyaml"
)

// document has a field of every type that can be decoded.
type document struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Text       string            `yaml:"text,omitempty"`
	Number     int               `yaml:"number"`
	Small      int8              `yaml:"small"`
	Mode       uint32            `yaml:"mode"`
	On         bool              `yaml:"on"`
	At         time.Time         `yaml:"at"`
	Words      map[string]string `yaml:"words"`
	Counts     map[string]int    `yaml:"counts"`
	List       []string          `yaml:"list"`
	Inner      inner             `yaml:"inner"`
	Inners     []inner           `yaml:"inners"`
	Pointer    *inner            `yaml:"pointer"`
	Level      level             `yaml:"level"`
	Ignored    string            `yaml:"-"`
	Untagged   string
}

type inner struct {
	Name string `yaml:"name"`
	Size int    `yaml:"size"`
}

type level int

func (l *level) UnmarshalYAML(n *yaml.Node) error {
	if n.Value != "high" {
		return fmt.Errorf("wanted high, got %q", n.Value)
	}
	*l = 9
	return nil
}

func decode(t *testing.T, text string) (document, error) {
	t.Helper()
	doc, err := strictyaml.Parse("d.yaml", []byte(text))
	if err != nil {
		return document{}, err
	}
	var d document
	err = doc.Decode(&d)
	return d, err
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, text string
		want       document
	}{
		{"text", "text: a b", document{Text: "a b"}},
		{"text: quoted number", `text: "1.10"`, document{Text: "1.10"}},
		{"text: a word that YAML 1.1 took for a bool", "text: no", document{Text: "no"}},
		{"text: a date", "text: 2026-01-31", document{Text: "2026-01-31"}},
		{"text: empty", `text: ""`, document{}},
		{"text: block", "text: |\n  a\n  b\n", document{Text: "a\nb\n"}},
		{"number", "number: -5", document{Number: -5}},
		{"mode: leading zero", "mode: 0644", document{Mode: 0o644}},
		{"mode: 0o", "mode: 0o1755", document{Mode: 0o1755}},
		{"mode: zero", "mode: 0", document{}},
		{"bool", "on: true", document{On: true}},
		{"time", "at: 2026-01-31T12:00:00Z", document{At: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}},
		{"time: quoted", `at: "2026-01-31T12:00:00Z"`, document{At: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}},
		{"map: scalars keep their text", "words: {a: 1, b: 0x10, c: true, d: 1.50, 5: e}", document{Words: map[string]string{"a": "1", "b": "0x10", "c": "true", "d": "1.50", "5": "e"}}},
		{"map of numbers", "counts: {a: 1}", document{Counts: map[string]int{"a": 1}}},
		{"list", "list: [a, b]", document{List: []string{"a", "b"}}},
		{"nested", "inner: {name: a, size: 1}\ninners:\n- name: b\n- size: 2", document{Inner: inner{"a", 1}, Inners: []inner{{Name: "b"}, {Size: 2}}}},
		{"pointer", "pointer: {name: a}", document{Pointer: &inner{Name: "a"}}},
		{"unmarshaler", "level: high", document{Level: 9}},
		{"containers without a value are empty", "words:\nlist:\ninner:\npointer:", document{}},
		{"JSON", `{"text": "a", "list": ["b"]}`, document{Text: "a", List: []string{"b"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "texd: a", `d.yaml:1:1: texd: unknown key "texd" (did you mean "text"?)`},
		{"unknown key: swapped letters", "nubmer: 1", `d.yaml:1:1: nubmer: unknown key "nubmer" (did you mean "number"?)`},
		{"unknown key: case", "LIST: []", `d.yaml:1:1: LIST: unknown key "LIST" (did you mean "list"?)`},
		{"unknown key: nothing near", "inner: {colour: red}", `d.yaml:1:9: inner.colour: unknown key "colour" (the keys here are name, size)`},
		{"unknown key: excluded field", "inners:\n- Untagged: x", `d.yaml:2:3: inners[0].Untagged: unknown key "Untagged" (the keys here are name, size)`},
		{"text: number", "text: 1.10", `d.yaml:1:7: text: wanted text, got the number 1.10 (quote it: "1.10")`},
		{"text: bool", "text: true", `d.yaml:1:7: text: wanted text, got the bool true (quote it: "true")`},
		{"text: nothing", "text:", `d.yaml:1:1: text: wanted text, got nothing (remove the key, or give it a value)`},
		{"text: tilde", "text: ~", `d.yaml:1:7: text: wanted text, got nothing (remove the key, or give it a value)`},
		{"text: list", "text:\n  - a", `d.yaml:1:1: text: wanted text, got a list`},
		{"text: long", "number: " + strings.Repeat("é", 50), `d.yaml:1:9: number: wanted a whole number, got "` + strings.Repeat("é", 40) + `..."`},
		{"number: text", "number: many", `d.yaml:1:9: number: wanted a whole number, got "many"`},
		{"number: quoted", `number: "5"`, `d.yaml:1:9: number: wanted a whole number, got "5" (write it without quotes)`},
		{"number: leading zero", "number: 010", `d.yaml:1:9: number: wanted a whole number, got the number 010`},
		{"number: fraction", "number: 1.5", `d.yaml:1:9: number: wanted a whole number, got the number 1.5`},
		{"number: too large", "small: 128", `d.yaml:1:8: small: wanted a whole number, got the number 128`},
		{"number: underscore", "number: 1_000", `d.yaml:1:9: number: wanted a whole number, got the number 1_000`},
		{"mode: decimal", "mode: 644", `d.yaml:1:7: mode: wanted a file mode in octal, got the number 644 (write it as 0644)`},
		{"mode: hexadecimal", "mode: 0x1a4", `d.yaml:1:7: mode: wanted a file mode in octal, got the number 0x1a4 (write it as 0644)`},
		{"mode: not octal", "mode: 0o8", `d.yaml:1:7: mode: wanted a file mode in octal, got "0o8" (write it as 0644)`},
		{"mode: too large", "mode: 0777777777777", `d.yaml:1:7: mode: wanted a file mode in octal, got the number 0777777777777 (write it as 0644)`},
		{"bool: yes", "on: yes", `d.yaml:1:5: on: wanted true or false, got "yes"`},
		{"bool: quoted", `on: "true"`, `d.yaml:1:5: on: wanted true or false, got "true" (write it without quotes)`},
		{"time: date only", "at: 2026-01-31", `d.yaml:1:5: at: wanted a time, got "2026-01-31" (write it as 2026-01-31T12:00:00Z)`},
		{"time: nothing", "at:", `d.yaml:1:1: at: wanted a time, got nothing (write it as 2026-01-31T12:00:00Z)`},
		{"map: nothing", "words: {a: }", `d.yaml:1:9: words.a: wanted text, got nothing (remove the key, or give it a value)`},
		{"map: list", "words: {a.b: []}", `d.yaml:1:9: words["a.b"]: wanted text, got a list`},
		{"map of numbers", "counts: {a: b}", `d.yaml:1:13: counts.a: wanted a whole number, got "b"`},
		{"list: text", "list: a", `d.yaml:1:7: list: wanted a list, got "a" (write each element on a line of its own, after a hyphen)`},
		{"list: element", "list:\n- a\n- 5", `d.yaml:3:3: list[1]: wanted text, got the number 5 (quote it: "5")`},
		{"struct: list", "inner: [a]", `d.yaml:1:1: inner: wanted keys and values, got a list`},
		{"unmarshaler", "level: low", `d.yaml:1:8: level: wanted high, got "low"`},
		{"unmarshaler: nothing", "level:", `d.yaml:1:1: level: wanted a value, got nothing (remove the key, or give it a value)`},
		{"several at once, sorted", "inners:\n  - {size: a}\n  - {nam: b}\ntext: 1",
			"d.yaml:2:12: inners[0].size: wanted a whole number, got \"a\"\n" +
				"d.yaml:3:6: inners[1].nam: unknown key \"nam\" (did you mean \"name\"?)\n" +
				"d.yaml:4:7: text: wanted text, got the number 1 (quote it: \"1\")"},

		{"empty", "", "d.yaml:1:1: the document is empty"},
		{"comment only", "# nothing\n", "d.yaml:1:1: the document is empty"},
		{"null", "~", "d.yaml:1:1: the document is empty"},
		{"not a mapping", "- a", "d.yaml:1:1: wanted keys and values, got a list"},
		{"second document", "text: a\n---\ntext: b", "d.yaml:2:1: a second document begins here (put each document into a file of its own)"},
		{"duplicate key", "text: a\ntext: b", `d.yaml:2:1: text: duplicate key "text", first in line 1 (remove one of them)`},
		{"duplicate key in a map", `words: {a: 1, "a": 2}`, `d.yaml:1:15: words.a: duplicate key "a", first in line 1 (remove one of them)`},
		{"anchor and alias", "text: &x a\nlist: [*x]",
			"d.yaml:1:7: text: the anchor &x is not allowed (write the value out where it is used)\n" +
				"d.yaml:2:8: list[0]: the alias *x is not allowed (write the value out)"},
		{"merge key", "inner:\n  <<: {name: a}", `d.yaml:2:3: inner["<<"]: merge keys are not allowed (write the keys out)`},
		{"tag", "text: !!str 5", "d.yaml:1:7: text: the tag !!str is not allowed (remove it, and quote the value if it is text)"},
		{"key is a list", "[a]: b", "d.yaml:1:1: a key must be a plain word, got a list"},
		{"features and types at once", "text: a\ntext: b\nnumber: &n x\nlist: [a, *n, 5]\nwords: {<<: {}, a: *n, b: !!str c}\non: !!bool yes",
			"d.yaml:2:1: text: duplicate key \"text\", first in line 1 (remove one of them)\n" +
				"d.yaml:3:9: number: the anchor &n is not allowed (write the value out where it is used)\n" +
				"d.yaml:3:9: number: wanted a whole number, got \"x\"\n" +
				"d.yaml:4:11: list[1]: the alias *n is not allowed (write the value out)\n" +
				"d.yaml:4:15: list[2]: wanted text, got the number 5 (quote it: \"5\")\n" +
				"d.yaml:5:9: words[\"<<\"]: merge keys are not allowed (write the keys out)\n" +
				"d.yaml:5:20: words.a: the alias *n is not allowed (write the value out)\n" +
				"d.yaml:5:27: words.b: the tag !!str is not allowed (remove it, and quote the value if it is text)\n" +
				"d.yaml:6:5: on: the tag !!bool is not allowed (remove it, and quote the value if it is text)"},
		{"unclosed quote", "kind: a\ntext: \"b", "d.yaml:2:1: invalid YAML: found unexpected end of stream"},
		{"tab", "inner:\n\tname: a", "d.yaml:2:1: invalid YAML: found character that cannot start any token (indent with blanks, not with tabs)"},
		{"two colons", "text: a: b", "d.yaml:1:1: invalid YAML: mapping values are not allowed in this context"},
		{"parser error", "kind: a\nlist: [a\ntext: b", "d.yaml:2:1: invalid YAML: did not find expected ',' or ']'"},
		{"unknown anchor", "text: *x", "d.yaml:1:1: invalid YAML: unknown anchor 'x' referenced"},
		{"control character", "text: \x01", "d.yaml:1:1: invalid YAML: control characters are not allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(t, tt.text)
			var problems report.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	doc, err := strictyaml.Parse("d.yaml", []byte("inners:\n  - name: a\n    size: 1\nwords:\n  a.b: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path report.Path
		want string
	}{
		{"inners[0].size", "d.yaml:3:11: inners[0].size: odd"},
		{"inners[0]", "d.yaml:2:5: inners[0]: odd"},
		{"inners[0].missing.deeper", "d.yaml:2:5: inners[0].missing.deeper: odd"},
		{"inners[7].size", "d.yaml:1:1: inners[7].size: odd"},
		{`words["a.b"]`, `d.yaml:5:8: words["a.b"]: odd`},
		{`words["x.y"]`, `d.yaml:4:1: words["x.y"]: odd`},
		{"missing", "d.yaml:1:1: missing: odd"},
		{"", "d.yaml:1:1: odd"},
	}
	for _, tt := range tests {
		got := doc.Place(report.Problems{{Path: tt.path, Message: "odd"}})
		if got.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	placed := report.Problem{File: "other.yaml", Line: 8, Col: 9, Path: "inners", Message: "odd"}
	if got := doc.Place(report.Problems{placed}); got[0] != placed {
		t.Errorf("a problem with a place was moved to %s", got)
	}
}

func schema() strictyaml.Schema[document] {
	return strictyaml.Schema[document]{
		APIVersion: "example/v1",
		Kind:       "Doc",
		Default: func(d document) document {
			if d.Number == 0 {
				d.Number = 7
			}
			return d
		},
		Validate: func(d document) report.Problems {
			var problems report.Problems
			if d.Text == "" {
				problems.Add("text", "missing", "")
			}
			if d.Inner.Size == 0 {
				problems.Add("inner.size", "missing", "")
			}
			if len(d.Inners) > 0 && d.Inners[0] == (inner{}) {
				problems.Add("inners[0]", "says nothing", "")
			}
			return problems
		},
	}
}

func TestSchema(t *testing.T) {
	got, err := schema().Parse("d.yaml", []byte("apiVersion: example/v1\nkind: Doc\ntext: a\ninner: {size: 1}"))
	if err != nil {
		t.Fatal(err)
	}
	want := document{APIVersion: "example/v1", Kind: "Doc", Text: "a", Number: 7, Inner: inner{Size: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSchemaRefuses(t *testing.T) {
	const head = "apiVersion: example/v1\nkind: Doc\n"
	tests := []struct{ name, text, want string }{
		{"no kind", "apiVersion: example/v1", "d.yaml:1:1: kind: missing (write kind: Doc)"},
		{"another version and kind: nothing else is read", "apiVersion: example/v2\nkind: [Doc]\nnonsense: true",
			"d.yaml:1:13: apiVersion: wanted example/v1, got \"example/v2\"\nd.yaml:2:1: kind: wanted Doc, got a list"},
		{"decoding and validation together", head + "number: x\ninner: {}",
			"d.yaml:1:1: text: missing\nd.yaml:3:9: number: wanted a whole number, got \"x\"\nd.yaml:4:1: inner.size: missing"},
		{"a field that was not decoded is not called missing", head + "text: 5\ninner: x",
			"d.yaml:3:7: text: wanted text, got the number 5 (quote it: \"5\")\nd.yaml:4:8: inner: wanted keys and values, got \"x\""},
		{"a whole with a part that was not decoded is not judged", head + "text: a\ninner: {size: 1}\ninners: [{nam: a}]",
			"d.yaml:5:11: inners[0].nam: unknown key \"nam\" (did you mean \"name\"?)"},
		{"a whole that was decoded is", head + "text: a\ninner: {size: 1}\ninners: [{}]", "d.yaml:5:10: inners[0]: says nothing"},
		{"a second document hides nothing", head + "inner: {size: 1}\n---\n{}",
			"d.yaml:1:1: text: missing\nd.yaml:4:1: a second document begins here (put each document into a file of its own)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema().Parse("d.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(document{}, got); diff != "" {
				t.Errorf("the value is not empty (-want +got):\n%s", diff)
			}
		})
	}
}

// listed is the schema with named lists.
func listed() strictyaml.Schema[document] {
	s := schema()
	s.Lists = strictyaml.Lists{"list": {}, "inners": {Field: "name"}}
	return s
}

func TestOverlay(t *testing.T) {
	const head = "apiVersion: example/v1\nkind: Doc\n"
	s := listed()
	open := func(file, text string) strictyaml.Document {
		doc, err := s.Open(file, []byte(head+text))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	parent := open("p.yaml", "text: a\nsmall: 200\ninner: {size: 1}\nlist: [a, b]\ninners: [{name: x, size: 1}, {name: y}]\npointer: {name: p}\nwords: {a: 1, b: 2}\n")
	child := open("c.yaml", "small: null\nlist: [-a, c]\ninners: [{name: y, size: 2}, {name: x, remove: true}]\nwords: {a: null, c: 3}\n")
	merged := s.Overlay(parent, child)
	merged, problems := s.Set(merged, "pointer.size=5")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got, err := s.Decode(merged)
	if err != nil {
		t.Fatal(err)
	}
	want := document{
		APIVersion: "example/v1", Kind: "Doc", Text: "a", Number: 7, Inner: inner{Size: 1}, List: []string{"b", "c"},
		Inners: []inner{{"y", 2}}, Words: map[string]string{"b": "2", "c": "3"}, Pointer: &inner{"p", 5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for path, want := range map[report.Path]string{"text": "p.yaml", "list[0]": "p.yaml", "list[1]": "c.yaml", "pointer.name": "p.yaml", "pointer.size": "--set pointer.size", "nowhere": "c.yaml"} {
		if got := merged.File(path); got != want {
			t.Errorf("%s is in %q, want %q", path, got, want)
		}
	}
	// The parent is as it was, with its problem at its place.
	if _, err := s.Decode(parent); err == nil || err.Error() != "p.yaml:4:8: small: wanted a whole number, got the number 200" {
		t.Errorf("the parent alone: %v", err)
	}
}

func TestMarshal(t *testing.T) {
	want := document{
		APIVersion: "example/v1", Kind: "Doc", Text: "a\nb\n", Number: -3, Small: 1, Mode: 0o755, On: true,
		At: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Words: map[string]string{"b": "yes", "a.c": "1"},
		Counts: map[string]int{"a": 1}, List: []string{"-x", "", "0x1"}, Inners: []inner{{Name: "a"}, {Size: 1}}, Pointer: &inner{Name: "p"},
	}
	text, err := strictyaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(t, string(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, text)
	}
	for _, value := range []any{1, &want, struct {
		A float64 `yaml:"a"`
	}{1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("encoding %T does not panic", value)
				}
			}()
			_, _ = strictyaml.Marshal(value)
		}()
	}
}

func TestDecodePanicsOnUnknownTypes(t *testing.T) {
	doc, err := strictyaml.Parse("d.yaml", []byte("a: 1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, into := range []any{new(int), document{}, &struct {
		A float64 `yaml:"a"`
	}{}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("decoding into %T does not panic", into)
				}
			}()
			_ = doc.Decode(into)
		}()
	}
}

// Whatever the input, there is a value or problems with places in the input,
// never both, never neither.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		"", "a", "apiVersion: example/v1\nkind: Doc\ntext: a\ninner: {size: 1}", "apiVersion: example/v1\nkind: Doc\n? [a]\n: b",
		"a: &x [*x]", "<<: {a: b}", "---\n---\n", "kind: !!binary aGk=", "? |\n  a\n: b", "at: 2026-01-31T12:00:00Z", "{a: 1, a: 2}", "a:\n\t- b", "%YAML 1.1\n---\nkind: x",
		"apiVersion: example/v1\nkind: Doc\nmode: 0644\nwords: {a: 1}\nlist: [~]\npointer: {}\nlevel: {}\nat: []",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := schema().Parse("d.yaml", data)
		if err == nil {
			return
		}
		var problems report.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("got error %v, want report.Problems", err)
		}
		for _, p := range problems {
			if p.File != "d.yaml" || p.Line < 1 || p.Col < 1 || p.Message == "" {
				t.Errorf("incomplete problem %+v", p)
			}
		}
		_ = problems.Format(data, report.Plain)
	})
}
