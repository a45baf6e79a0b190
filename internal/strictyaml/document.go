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

// A Document is one parsed YAML document, or several that are laid over one
// another ([Schema.Overlay]). Its root is a mapping.
type Document struct {
	file string
	root *yaml.Node
	// files says which file a node is from.
	files     map[*yaml.Node]string
	positions map[report.Path]position
	// refused are problems of YAML features that are not allowed; they are
	// reported by Decode, with all others. What they refuse is either removed
	// from the tree or, where that would move others, in skipped.
	refused report.Problems
	skipped map[*yaml.Node]bool
}

// position is a place in a file. Its line is noLine for what is in no file.
type position struct {
	file      string
	line, col int
}

const noLine = -1

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
	d := newDocument(file, content(&first))
	if d.root.Kind != yaml.MappingNode {
		return Document{}, report.Problems{d.problem(d.root, "", "wanted keys and values, got "+describe(d.root), "")}
	}
	d.check(d.root, "")
	d.index()

	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return Document{}, report.Problems{syntaxProblem(file, err)}
	default:
		d.refuse(&second, "", "a second document begins here", "put each document into a file of its own")
	}
	return d, nil
}

func newDocument(file string, root *yaml.Node) Document {
	return Document{file: file, root: root, files: map[*yaml.Node]string{}, skipped: map[*yaml.Node]bool{}}
}

// content returns what a document node holds.
func content(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		return n.Content[0]
	}
	return n
}

// check notes the file of every node below n and refuses what no document may
// hold.
func (d *Document) check(n *yaml.Node, path report.Path) {
	d.files[n] = d.file
	if n.Anchor != "" {
		d.refuse(n, path, fmt.Sprintf("the anchor &%s is not allowed", n.Anchor), "write the value out where it is used")
	}
	if n.Kind == yaml.AliasNode {
		d.refuse(n, path, fmt.Sprintf("the alias *%s is not allowed", n.Value), "write the value out")
		d.skipped[n] = true
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.refuse(n, path, fmt.Sprintf("the tag %s is not allowed", n.Tag), "remove it, and quote the value if it is text")
		d.skipped[n] = true
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			d.check(item, path.Index(i))
		}
	case yaml.MappingNode:
		d.checkMapping(n, path)
	}
}

// checkMapping checks the pairs of a mapping and keeps those whose key is
// allowed.
func (d *Document) checkMapping(n *yaml.Node, path report.Path) {
	kept := make([]*yaml.Node, 0, len(n.Content))
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		d.files[key] = d.file
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
		d.check(value, at)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

// index records the position of every path of the document.
func (d *Document) index() {
	d.positions = map[report.Path]position{"": d.of(d.root)}
	d.indexNode(d.root, "")
}

func (d *Document) indexNode(n *yaml.Node, path report.Path) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			at := path.Index(i)
			d.positions[at] = d.of(item)
			d.indexNode(item, at)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			at := path.Field(key.Value)
			d.positions[at] = d.valuePosition(key, value)
			d.indexNode(value, at)
		}
	}
}

func (d *Document) refuse(at *yaml.Node, path report.Path, message, remedy string) {
	d.refused = append(d.refused, d.problem(at, path, message, remedy))
}

// of returns the position of a node.
func (d Document) of(n *yaml.Node) position {
	file, ok := d.files[n]
	if !ok {
		file = d.file
	}
	return position{file, n.Line, n.Column}
}

// valuePosition returns where a problem with value is shown: at a scalar, and
// at the key of everything else, because the first line of a list or mapping
// belongs to its first element.
func (d Document) valuePosition(key, value *yaml.Node) position {
	if value.Kind == yaml.ScalarNode && value.Value != "" {
		return d.of(value)
	}
	return d.of(key)
}

// File returns the name of the file in which the field at path is written, or
// the nearest one above it.
func (d Document) File(path report.Path) string { return d.position(path).file }

// Text returns the text at a key of the root, if there is one.
func (d Document) Text(key string) string {
	if n := lookup(d.root, key); n != nil && n.Kind == yaml.ScalarNode && !isNull(n) {
		return n.Value
	}
	return ""
}

// Expect checks the document's apiVersion and kind, which decide how the rest
// is read. The error is a [report.Problems].
func (d Document) Expect(apiVersion, kind string) error {
	var problems report.Problems
	for _, want := range []struct{ key, value string }{{"apiVersion", apiVersion}, {"kind", kind}} {
		path := report.Path(want.key)
		switch got := lookup(d.root, want.key); {
		case got == nil:
			problems.Add(path, "missing", fmt.Sprintf("write %s: %s", want.key, want.value))
		case got.Kind != yaml.ScalarNode || got.Value != want.value:
			problems.Add(path, fmt.Sprintf("wanted %s, got %s", want.value, describe(got)), "")
		}
	}
	return d.Place(problems).Err()
}

// Place returns the problems with file, line and column filled in by their
// path. A path that the document does not have is shown at the nearest one
// above it: a missing key at the mapping that lacks it.
func (d Document) Place(problems report.Problems) report.Problems {
	placed := make(report.Problems, 0, len(problems))
	for _, p := range problems {
		if p.Line == 0 && p.File == "" {
			severity := p.Severity
			p = d.position(p.Path).problem(p.Path, p.Message, p.Remedy)
			p.Severity = severity
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
	return d.of(at).problem(path, message, remedy)
}

func (p position) problem(path report.Path, message, remedy string) report.Problem {
	problem := report.Problem{File: p.file, Path: path, Message: message, Remedy: remedy}
	if p.line != noLine {
		problem.Line, problem.Col = max(p.line, 1), max(p.col, 1)
	}
	return problem
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
