package strictyaml

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
)

// A List says how the elements of a list are told apart when one document is
// laid over another.
type List struct {
	// Field is the field that names an element. It is empty for a list of
	// texts, which name themselves.
	Field string
	// Name returns the name of an element from its fields, or from the text
	// itself, which is the field "". Nil is the value of Field.
	Name func(field func(name string) string) string
}

// Lists holds the lists whose elements have names, by path. All other lists
// are replaced as a whole.
type Lists map[report.Path]List

// removeKey marks an element that names what is to be removed.
const removeKey = "remove"

// name returns the name of an element of the list, or "" if it has none.
func (l List) name(n *yaml.Node) string {
	field := func(name string) string {
		at := n
		if name != "" {
			at = lookup(n, name)
		}
		if at == nil || at.Kind != yaml.ScalarNode || isNull(at) {
			return ""
		}
		return at.Value
	}
	if l.Name != nil {
		return l.Name(field)
	}
	return field(l.Field)
}

// find returns the index of the element with that name, or -1.
func (l List) find(elements []*yaml.Node, name string) int {
	if name == "" {
		return -1
	}
	return slices.IndexFunc(elements, func(n *yaml.Node) bool { return l.name(n) == name })
}

// names returns the names of the elements that have one.
func (l List) names(elements []*yaml.Node) []string {
	var names []string
	for _, n := range elements {
		if name := l.name(n); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// overlay lays nodes over others. It makes new nodes and changes none.
type overlay struct {
	doc   *Document
	lists Lists
}

// over returns the document with child laid over it. The result has the file
// name of child, and every node keeps the position in the file that it is from.
func (d Document) over(child Document, lists Lists) Document {
	merged := d.with(child)
	merged.file = child.file
	merged.root = overlay{&merged, lists}.mapping(d.root, child.root, "")
	merged.index()
	return merged
}

// with returns the document with all that is known of the nodes of another.
func (d Document) with(other Document) Document {
	d.files, d.skipped = maps.Clone(d.files), maps.Clone(d.skipped)
	maps.Copy(d.files, other.files)
	maps.Copy(d.skipped, other.skipped)
	d.refused = slices.Concat(d.refused, other.refused)
	return d
}

// value returns child laid over parent, which may be nil.
func (o overlay) value(parent, child *yaml.Node, path report.Path) *yaml.Node {
	list, named := o.lists[path]
	switch {
	case o.doc.skipped[child]:
		return child
	case child.Kind == yaml.MappingNode:
		return o.mapping(parent, child, path)
	case child.Kind == yaml.SequenceNode && named:
		return o.list(list, parent, child, path)
	default:
		return child
	}
}

// like returns an empty node in the place of n.
func (o overlay) like(n *yaml.Node) *yaml.Node {
	made := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Style: n.Style, Line: n.Line, Column: n.Column}
	o.doc.files[made] = o.doc.of(n).file
	return made
}

func (o overlay) mapping(parent, child *yaml.Node, path report.Path) *yaml.Node {
	merged := o.like(child)
	if parent != nil && parent.Kind == yaml.MappingNode && !o.doc.skipped[parent] {
		merged.Content = slices.Clone(parent.Content)
	}
	for i := 0; i+1 < len(child.Content); i += 2 {
		key, value := child.Content[i], child.Content[i+1]
		o.set(merged, key, value, path.Field(key.Value))
	}
	return merged
}

// set lays one pair over those of a mapping of our own.
func (o overlay) set(merged, key, value *yaml.Node, path report.Path) {
	i := keyIndex(merged, key.Value)
	switch {
	case isNull(value) && !o.doc.skipped[value] && i < 0:
		o.nothing(key, path, key.Value, keys(merged))
	case isNull(value) && !o.doc.skipped[value]:
		merged.Content = slices.Delete(merged.Content, i, i+2)
	case i < 0:
		merged.Content = append(merged.Content, key, o.value(nil, value, path))
	default:
		merged.Content[i], merged.Content[i+1] = key, o.value(merged.Content[i+1], value, path)
	}
}

func (o overlay) list(l List, parent, child *yaml.Node, path report.Path) *yaml.Node {
	merged := o.like(child)
	if parent != nil && parent.Kind == yaml.SequenceNode && !o.doc.skipped[parent] {
		merged.Content = slices.Clone(parent.Content)
	}
	// What the child has named already: a name that it gives twice must not
	// look like one.
	own := map[string]bool{}
	for i, element := range child.Content {
		at := path.Index(i)
		name, removes := o.removal(l, element, at)
		if !removes {
			name = l.name(element)
		}
		index := l.find(merged.Content, name)
		switch {
		case removes && name == "":
		case removes && own[name]:
			o.refuse(element, at, fmt.Sprintf("%q is added and removed", name), "remove one of the two")
		case removes && index < 0:
			o.nothing(element, at, name, l.names(merged.Content))
		case removes:
			merged.Content = slices.Delete(merged.Content, index, index+1)
		case index < 0 || own[name]:
			merged.Content = append(merged.Content, element)
		default:
			merged.Content[index] = element
		}
		if !removes {
			own[name] = true
		}
	}
	return merged
}

// removal reports whether an element says that another is to be removed, and
// its name. The name is empty if the element is not well formed, which is then
// reported.
func (o overlay) removal(l List, n *yaml.Node, path report.Path) (name string, removes bool) {
	if l.Field == "" {
		word, ok := strings.CutPrefix(n.Value, "-")
		if n.Kind != yaml.ScalarNode || !ok {
			return "", false
		}
		return l.name(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: word}), true
	}
	mark := lookup(n, removeKey)
	if mark == nil {
		return "", false
	}
	remedy := fmt.Sprintf("write {%s: NAME, %s: true}", l.Field, removeKey)
	name = l.name(n)
	switch {
	case mark.Kind != yaml.ScalarNode || mark.Value != "true" || !plain(mark):
		o.refuse(mark, path.Field(removeKey), "wanted true, got "+describe(mark), remedy)
	case len(n.Content) != 4 || lookup(n, l.Field) == nil || name == "":
		o.refuse(n, path, "an element that removes another has its name and nothing else", remedy)
	default:
		return name, true
	}
	return "", true
}

// nothing reports that there is nothing to remove.
func (o overlay) nothing(at *yaml.Node, path report.Path, name string, names []string) {
	remedy := ""
	if near := nearest(name, names); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	o.refuse(at, path, fmt.Sprintf("there is no %q to remove", name), remedy)
}

func (o overlay) refuse(at *yaml.Node, path report.Path, message, remedy string) {
	o.doc.refuse(at, path, message, remedy)
}

// lookup returns the value of a key of a mapping, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

func keyIndex(n *yaml.Node, key string) int {
	if n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func keys(n *yaml.Node) []string {
	var list []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		list = append(list, n.Content[i].Value)
	}
	return list
}
