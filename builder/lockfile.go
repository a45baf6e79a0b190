package builder

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/internal/report"
)

// lockVersion is that of the form of the file.
const lockVersion = 1

// lockFile is the file of a lock.
type lockFile struct {
	Version  int    `json:"version"`
	Checksum string `json:"checksum"`
	Lock
}

// Marshal returns the file of a lock: JSON with one line for each pin, for
// those who review it, and a checksum over all the rest.
func (l Lock) Marshal() []byte {
	// What the checksum covers is the document with an empty one.
	return l.document("sha256:" + source.SumBytes(l.document("")))
}

func (l Lock) document(checksum string) []byte {
	var d document
	d.line(0, "{")
	d.line(1, fmt.Sprintf("%q: %d,", "version", lockVersion))
	d.line(1, fmt.Sprintf("%q: %q,", "checksum", checksum))
	list(&d, 1, "requests", l.Requests, ",")
	list(&d, 1, "root", l.Root, ",")
	list(&d, 1, "boot", l.Boot, ",")
	references := slices.Sorted(maps.Keys(l.Containers))
	if len(references) == 0 {
		d.line(1, `"containers": {},`)
	} else {
		d.line(1, `"containers": {`)
		for i, reference := range references {
			list(&d, 2, reference, l.Containers[reference], comma(i, len(references)))
		}
		d.line(1, "},")
	}
	list(&d, 1, "images", l.Images, ",")
	list(&d, 1, "downloads", l.Downloads, ",")
	list(&d, 1, "modules", l.Modules, "")
	d.line(0, "}")
	return d.b.Bytes()
}

// document is JSON whose lines are chosen.
type document struct{ b bytes.Buffer }

func (d *document) line(depth int, text string) {
	d.b.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

func list[T any](d *document, depth int, key string, values []T, end string) {
	if len(values) == 0 {
		d.line(depth, compact(key)+": []"+end)
		return
	}
	d.line(depth, compact(key)+": [")
	for i, v := range values {
		d.line(depth+1, compact(v)+comma(i, len(values)))
	}
	d.line(depth, "]"+end)
}

func comma(i, n int) string {
	if i == n-1 {
		return ""
	}
	return ","
}

// compact returns the JSON of a value on one line, for people: "<" stays "<".
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("internal error: encoding %T: %v", v, err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ParseLock reads the file of a lock. File is its name in problems, command
// what makes it anew. The error is a [report.Problems].
func ParseLock(file string, data []byte, command string) (Lock, error) {
	problem := report.Problem{File: file, Line: 1, Col: 1}
	fail := func(message, remedy string) (Lock, error) {
		problem.Message, problem.Remedy = message, remedy
		return Lock{}, report.Problems{problem}
	}
	again := fmt.Sprintf("restore it, or run %q", command)
	var f lockFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		// The version first: a newer one has fields that are unknown here.
		if v, ok := otherVersion(data); ok {
			problem.Path = "version"
			return fail(fmt.Sprintf("the lock has version %d, this program reads %d", v, lockVersion), again)
		}
		problem.Line, problem.Col, problem.Path, problem.Message = place(data, err)
		return fail(problem.Message, again)
	}
	if f.Version != lockVersion {
		problem.Path = "version"
		return fail(fmt.Sprintf("the lock has version %d, this program reads %d", f.Version, lockVersion), again)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		problem.Line, problem.Col = position(data, d.InputOffset())
		return fail("something follows the lock", again)
	}
	if want := "sha256:" + source.SumBytes(f.document("")); f.Checksum != want {
		problem.Path = "checksum"
		if at := bytes.Index(data, []byte(`"checksum"`)); at >= 0 {
			problem.Line, problem.Col = position(data, int64(at))
		}
		return fail("the lock was edited by hand, or damaged: its content has another checksum", again)
	}
	if err := f.check(); err != nil {
		return fail(err.Error(), again)
	}
	f.Key = requestsKey(f.Requests)
	return f.Lock, nil
}

// check sees to it that what is indexed by the content of a lock is there.
func (l Lock) check() error {
	var modules []string
	for _, r := range l.Requests {
		if strings.HasPrefix(r, "module ") {
			modules = append(modules, r)
		}
	}
	var pinned []string
	for _, m := range l.Modules {
		pinned = append(pinned, moduleRequest(m.Path, m.Version))
	}
	if !slices.Equal(modules, pinned) {
		return errors.New("the modules are not those that were requested")
	}
	var digests []string
	for _, d := range l.debs() {
		digests = append(digests, d.SHA256)
	}
	for _, f := range l.Downloads {
		digests = append(digests, f.SHA256)
	}
	for _, i := range l.Images {
		digests = append(digests, strings.TrimPrefix(i.digest(), "sha256:"))
	}
	for _, digest := range digests {
		if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 {
			return fmt.Errorf("%q is not a SHA-256 digest", digest)
		}
	}
	return nil
}

// otherVersion returns the version of a document that is of another one.
func otherVersion(data []byte) (int, bool) {
	var v struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(data, &v)
	return v.Version, err == nil && v.Version != lockVersion
}

// place says where an error of the JSON decoder is, as far as that is known,
// and what it is.
func place(data []byte, err error) (line, col int, path report.Path, message string) {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line, col = position(data, syntax.Offset-1)
		return line, col, "", "invalid JSON: " + syntax.Error()
	case errors.As(err, &kind):
		// The offset is behind the value.
		line, col = position(data, kind.Offset-1)
		return line, col, report.Path(strings.TrimPrefix(kind.Field, "Lock.")), fmt.Sprintf("wanted another type than %s", kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		line, col = position(data, int64(len(data)))
		return line, col, "", "the lock ends in the middle"
	}
	message = strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(message, "unknown field "); ok {
		if at := bytes.Index(data, []byte(name)); at >= 0 {
			line, col = position(data, int64(at))
			return line, col, "", message
		}
	}
	return 1, 1, "", message
}

// position returns the line and column of an offset, counted from 1.
func position(data []byte, offset int64) (line, col int) {
	before := string(data[:max(0, min(offset, int64(len(data))))])
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}
