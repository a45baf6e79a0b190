package report

import (
	"regexp"
	"strconv"
	"strings"
)

// A Path names a field of a document, for instance spec.nodes[2].mac or
// spec.sysctls["net.ipv4.ip_forward"]. The empty Path is the document.
type Path string

// plainKey are keys that need no quotes in a path.
var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Field returns the path of a field of p.
func (p Path) Field(name string) Path {
	switch {
	case !plainKey.MatchString(name):
		return p + Path("["+strconv.Quote(name)+"]")
	case p == "":
		return Path(name)
	default:
		return p + Path("."+name)
	}
}

// Index returns the path of the element i of the list p, counted from 0.
func (p Path) Index(i int) Path {
	return p + Path("["+strconv.Itoa(i)+"]")
}

// Parent returns the path of the field or list that holds p; the parent of
// the document is the document.
func (p Path) Parent() Path {
	s := string(p)
	switch {
	case strings.HasSuffix(s, `"]`):
		// Inside a quoted key a quote follows a backslash, so that the last
		// bracket before a quote is the one that opens it.
		return Path(s[:max(strings.LastIndex(s, `["`), 0)])
	case strings.HasSuffix(s, "]"):
		return Path(s[:max(strings.LastIndexByte(s, '['), 0)])
	default:
		return Path(s[:max(strings.LastIndexByte(s, '.'), 0)])
	}
}

// Within reports whether p is outer or a part of it.
func (p Path) Within(outer Path) bool {
	if p == outer || outer == "" {
		return true
	}
	rest, ok := strings.CutPrefix(string(p), string(outer))
	return ok && (rest[0] == '.' || rest[0] == '[')
}
