package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
)

// A Document is one parsed YAML document. Its root is a mapping.
type Document struct {
	file      string
	root      *yaml.Node
	positions map[report.Path]position
	// refused are problems of YAML features that are not allowed; they are
	// reported by Decode, with all others. What they refuse is either removed
	// from the tree or, where that would move others, in skipped.
	refused report.Problems
	skipped map[report.Path]bool
}

type position struct{ line, col int }

// Parse reads the only document in data; file is its name in problems. The
// error is a [report.Problems].
func Parse(file string, data []byte) (Document, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) || (err == nil && isNull(content(&first))) {
		problem := report.Problem{File: file, Line: 1, Col: 1, Message: "the document is empty"}
		return Document{}, report.Problems{problem}
	}
	if err != nil {
		return Document{}, report.Problems{syntaxProblem(file, err)}
	}
	d := Document{
		file: file, root: content(&first),
		positions: map[report.Path]position{}, skipped: map[report.Path]bool{},
	}
	if d.root.Kind != yaml.MappingNode {
		return Document{}, report.Problems{d.problem(d.root, "", "wanted keys and values, got "+describe(d.root), "")}
	}
	d.positions[""] = position{d.root.Line, d.root.Column}
	d.index(d.root, "")

	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return Document{}, report.Problems{syntaxProblem(file, err)}
	default:
		d.refuse(&second, "", "a second document begins here", "put each document into a file of its own")
	}
	return d, nil
}

// content returns what a document node holds.
func content(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		return n.Content[0]
	}
	return n
}

// index records the position of every path below n and refuses what no
// document may hold.
func (d *Document) index(n *yaml.Node, path report.Path) {
	if n.Anchor != "" {
		d.refuse(n, path, fmt.Sprintf("the anchor &%s is not allowed", n.Anchor), "write the value out where it is used")
	}
	if n.Kind == yaml.AliasNode {
		d.refuse(n, path, fmt.Sprintf("the alias *%s is not allowed", n.Value), "write the value out")
		d.skipped[path] = true
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.refuse(n, path, fmt.Sprintf("the tag %s is not allowed", n.Tag), "remove it, and quote the value if it is text")
		d.skipped[path] = true
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			at := path.Index(i)
			d.positions[at] = position{item.Line, item.Column}
			d.index(item, at)
		}
	case yaml.MappingNode:
		d.indexMapping(n, path)
	}
}

// indexMapping indexes the pairs of a mapping and keeps those whose key is
// allowed.
func (d *Document) indexMapping(n *yaml.Node, path report.Path) {
	kept := make([]*yaml.Node, 0, len(n.Content))
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			d.refuse(key, path, "a key must be a plain word, got "+describe(key), "")
			continue
		}
		at := path.Field(key.Value)
		if key.Value == "<<" && key.Style == 0 {
			d.refuse(key, at, "merge keys are not allowed", "write the keys out")
			continue
		}
		if line, ok := lines[key.Value]; ok {
			d.refuse(key, at, fmt.Sprintf("duplicate key %q, first in line %d", key.Value, line), "remove one of them")
			continue
		}
		lines[key.Value] = key.Line
		d.positions[at] = valuePosition(key, value)
		d.index(value, at)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

func (d *Document) refuse(at *yaml.Node, path report.Path, message, remedy string) {
	d.refused = append(d.refused, d.problem(at, path, message, remedy))
}

// valuePosition returns where a problem with value is shown: at a scalar, and
// at the key of everything else, because the first line of a list or mapping
// belongs to its first element.
func valuePosition(key, value *yaml.Node) position {
	if value.Kind == yaml.ScalarNode && value.Value != "" {
		return position{value.Line, value.Column}
	}
	return position{key.Line, key.Column}
}

// Expect checks the document's apiVersion and kind, which decide how the rest
// is read. The error is a [report.Problems].
func (d Document) Expect(apiVersion, kind string) error {
	var problems report.Problems
	for _, want := range []struct{ key, value string }{{"apiVersion", apiVersion}, {"kind", kind}} {
		path := report.Path(want.key)
		switch got := d.lookup(want.key); {
		case got == nil:
			problems.Add(path, "missing", fmt.Sprintf("write %s: %s", want.key, want.value))
		case got.Kind != yaml.ScalarNode || got.Value != want.value:
			problems.Add(path, fmt.Sprintf("wanted %s, got %s", want.value, describe(got)), "")
		}
	}
	return d.Place(problems).Err()
}

// lookup returns the value of a key of the root, or nil.
func (d Document) lookup(key string) *yaml.Node {
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		if d.root.Content[i].Value == key {
			return d.root.Content[i+1]
		}
	}
	return nil
}

// Place returns the problems with file, line and column filled in by their
// path. A path that the document does not have is shown at the nearest one
// above it: a missing key at the mapping that lacks it.
func (d Document) Place(problems report.Problems) report.Problems {
	placed := make(report.Problems, 0, len(problems))
	for _, p := range problems {
		if p.Line == 0 {
			at := d.position(p.Path)
			p.File, p.Line, p.Col = d.file, at.line, at.col
		}
		placed = append(placed, p)
	}
	return placed
}

func (d Document) position(path report.Path) position {
	for ; path != ""; path = path.Parent() {
		if at, ok := d.positions[path]; ok {
			return at
		}
	}
	return d.positions[""]
}

func (d Document) problem(at *yaml.Node, path report.Path, message, remedy string) report.Problem {
	return report.Problem{
		File: d.file, Line: max(at.Line, 1), Col: max(at.Column, 1),
		Path: path, Message: message, Remedy: remedy,
	}
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxProblem turns an error of the YAML parser, which has a line at most,
// into a problem.
func syntaxProblem(file string, err error) report.Problem {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	p := report.Problem{File: file, Line: 1, Col: 1, Message: "invalid YAML: " + text}
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		p.Message = "invalid YAML: " + m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			p.Line = line
			// yaml.v3 counts the lines of this class of error from 0.
			if strings.HasPrefix(m[2], "did not find expected") {
				p.Line++
			}
		}
	}
	if strings.Contains(p.Message, "cannot start any token") || strings.Contains(p.Message, "tab character") {
		p.Remedy = "indent with blanks, not with tabs"
	}
	return p
}
