package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
)

// An assignment is "path=value": a value that is laid over one field.
type assignment struct {
	// words of the path; one in brackets names an element or a key.
	words []word
	value string
}

type word struct {
	text      string
	bracketed bool
}

var errAssignment = errors.New("not path=value")

var fieldWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*`)

// parseAssignment reads "a.b[c.d].e=value". What is in brackets is taken as it
// is, or unquoted if it is quoted.
func parseAssignment(s string) (assignment, error) {
	var a assignment
	for first := true; ; first = false {
		switch {
		case strings.HasPrefix(s, "=") && !first:
			a.value = s[1:]
			return a, nil
		case strings.HasPrefix(s, "[") && !first:
			key, rest, err := bracket(s[1:])
			if err != nil {
				return assignment{}, err
			}
			a.words, s = append(a.words, word{key, true}), rest
		default:
			rest, dot := strings.CutPrefix(s, ".")
			name := fieldWord.FindString(rest)
			if dot == first || name == "" {
				return assignment{}, errAssignment
			}
			a.words, s = append(a.words, word{name, false}), rest[len(name):]
		}
	}
}

// bracket returns the key before the closing bracket, and what is behind it.
func bracket(s string) (key, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", errAssignment
		}
		if key, err = strconv.Unquote(quoted); err != nil {
			return "", "", errAssignment
		}
		s = s[len(quoted):]
		if !strings.HasPrefix(s, "]") {
			return "", "", errAssignment
		}
		return key, s[1:], nil
	}
	key, rest, ok := strings.Cut(s, "]")
	if !ok || key == "" {
		return "", "", errAssignment
	}
	return key, rest, nil
}

// set returns the document with one assignment laid over it, as if a document
// of that one field was. Type is the one that the document is of.
func (d Document) set(text string, t reflect.Type, lists Lists) (Document, *report.Problem) {
	problem := report.Problem{File: "--set " + text}
	a, err := parseAssignment(text)
	if err != nil {
		problem.Message = "not a path and a value"
		problem.Remedy = "write path=value, for instance spec.disk.rootMiB=3072 or spec.sysctls.vm.swappiness=10"
		return Document{}, &problem
	}
	problem.File = "--set " + text[:len(text)-len(a.value)-1]
	child := newDocument(problem.File, nil)
	if child.root, err = parseValue(a.value); err != nil {
		problem.Message = err.Error()
		return Document{}, &problem
	}
	child.check(child.root, "")
	merged := d.with(child)
	s := setter{overlay{&merged, lists}, problem.File, child.root}
	root, wrong := s.at(d.root, t, a.words, "")
	if wrong != nil {
		return Document{}, wrong
	}
	merged.root = root
	merged.index()
	return merged, nil
}

// parseValue reads the only YAML value in text. Its nodes are in no line of
// any file.
func parseValue(text string) (*yaml.Node, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New(`the value is empty; write null to remove the field, or "" for an empty text`)
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	var n, more yaml.Node
	if err := decoder.Decode(&n); err != nil {
		return nil, errors.New(syntaxProblem("", err).Message)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	value := content(&n)
	unplace(value)
	return value, nil
}

func unplace(n *yaml.Node) {
	n.Line = noLine
	for _, c := range n.Content {
		unplace(c)
	}
}

// setter lays one value over the field that a path names.
type setter struct {
	overlay
	file  string
	value *yaml.Node
}

func (s setter) problem(path report.Path, message, remedy string) *report.Problem {
	return &report.Problem{File: s.file, Path: path, Message: message, Remedy: remedy}
}

// node returns a new node that stands in no file.
func (s setter) node(kind yaml.Kind, value string) *yaml.Node {
	n := &yaml.Node{Kind: kind, Value: value, Line: noLine}
	switch kind {
	case yaml.MappingNode:
		n.Tag = "!!map"
	case yaml.SequenceNode:
		n.Tag = "!!seq"
	default:
		n.Tag = "!!str"
	}
	s.doc.files[n] = s.file
	return n
}

// at returns n with the value laid over the field that words name below it.
// It returns nil for a field that is removed.
func (s setter) at(n *yaml.Node, t reflect.Type, words []word, path report.Path) (*yaml.Node, *report.Problem) {
	if len(words) == 0 {
		if isNull(s.value) && !s.doc.skipped[s.value] {
			if n == nil {
				return nil, s.problem(path, "there is nothing to remove", "")
			}
			return nil, nil
		}
		return s.overlay.value(n, s.value, path), nil
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct && t != timeType:
		return s.field(n, t, words, path)
	case t.Kind() == reflect.Map && isScalar(t.Elem()):
		// Nothing is below such a key: dots belong to it.
		key, rest := dotted(words)
		return s.pair(n, t.Elem(), key, rest, path)
	case t.Kind() == reflect.Map:
		return s.pair(n, t.Elem(), words[0].text, words[1:], path)
	case t.Kind() == reflect.Slice:
		return s.element(n, t.Elem(), words, path)
	default:
		return nil, s.problem(path, fmt.Sprintf("%s has no fields", path), "write "+string(path)+"=VALUE")
	}
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
		return false
	}
	return true
}

// dotted returns the key that words without brackets are, and what is behind it.
func dotted(words []word) (key string, rest []word) {
	key, rest = words[0].text, words[1:]
	for !words[0].bracketed && len(rest) > 0 && !rest[0].bracketed {
		key, rest = key+"."+rest[0].text, rest[1:]
	}
	return key, rest
}

func (s setter) field(n *yaml.Node, t reflect.Type, words []word, path report.Path) (*yaml.Node, *report.Problem) {
	fields, names := structFields(t)
	index, ok := fields[words[0].text]
	if !ok {
		remedy := "the keys here are " + strings.Join(names, ", ")
		if near := nearest(words[0].text, names); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", path.Field(near))
		}
		return nil, s.problem(path.Field(words[0].text), fmt.Sprintf("unknown key %q", words[0].text), remedy)
	}
	return s.pair(n, t.Field(index).Type, words[0].text, words[1:], path)
}

// pair returns the mapping n with the value of one key replaced.
func (s setter) pair(n *yaml.Node, t reflect.Type, key string, words []word, path report.Path) (*yaml.Node, *report.Problem) {
	mapping := s.copy(n, yaml.MappingNode)
	i := keyIndex(mapping, key)
	var old *yaml.Node
	if i >= 0 {
		old = mapping.Content[i+1]
	}
	made, problem := s.at(old, t, words, path.Field(key))
	switch {
	case problem != nil:
		return nil, problem
	case made == nil:
		mapping.Content = slices.Delete(mapping.Content, i, i+2)
	case i < 0:
		mapping.Content = append(mapping.Content, s.node(yaml.ScalarNode, key), made)
	default:
		mapping.Content[i+1] = made
		if len(words) == 0 {
			// A list or mapping is shown at its key.
			mapping.Content[i] = s.node(yaml.ScalarNode, key)
		}
	}
	return mapping, nil
}

// element returns the list n with one element replaced, which a list of named
// ones finds by name and any other by its index.
func (s setter) element(n *yaml.Node, t reflect.Type, words []word, path report.Path) (*yaml.Node, *report.Problem) {
	list := s.copy(n, yaml.SequenceNode)
	named, ok := s.lists[path]
	if !words[0].bracketed {
		return nil, s.problem(path, "a list has no keys", fmt.Sprintf("write %s[NAME] for one element", path))
	}
	i := -1
	if ok {
		i = named.find(list.Content, words[0].text)
	} else if number, err := strconv.Atoi(words[0].text); err == nil && number >= 0 && number < len(list.Content) {
		i = number
	}
	if i < 0 {
		names := named.names(list.Content)
		remedy := fmt.Sprintf("to add elements, write %s=[...]", path)
		switch near := nearest(words[0].text, names); {
		case !ok:
			remedy = fmt.Sprintf("the list has %d elements, counted from 0", len(list.Content))
		case near != "":
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, s.problem(path, fmt.Sprintf("there is no element %q", words[0].text), remedy)
	}
	made, problem := s.at(list.Content[i], t, words[1:], path.Index(i))
	switch {
	case problem != nil:
		return nil, problem
	case made == nil:
		list.Content = slices.Delete(list.Content, i, i+1)
	default:
		list.Content[i] = made
	}
	return list, nil
}

// copy returns a copy of n if it is of that kind, or else an empty one.
func (s setter) copy(n *yaml.Node, kind yaml.Kind) *yaml.Node {
	if n == nil || n.Kind != kind || s.doc.skipped[n] {
		return s.node(kind, "")
	}
	made := s.like(n)
	made.Content = slices.Clone(n.Content)
	return made
}
