package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"
)

const (
	// tailLines of the console are shown when waiting for it fails.
	tailLines = 30
	// tailWidth is where they are cut: a firmware's menu is one line.
	tailWidth = 200
	// tailBytes are read to find them; firmware repaints a lot.
	tailBytes = 256 << 10
	// consolePoll is how often a growing console is read.
	consolePoll = 100 * time.Millisecond
)

// A Console reads the growing file of a machine's serial line. It is not safe
// for concurrent use: make one per reader.
type Console struct {
	path   string
	offset int64
	// partial is the last line so far, without its end.
	partial string
}

// NewConsole reads from the beginning of the file, which need not exist yet.
func NewConsole(path string) *Console { return &Console{path: path} }

// WaitFor reads on until a line matches, and returns that line in plain text.
// Like expect(1) it continues after the line of the call before: two calls
// with one pattern wait for two lines. A prompt without an end of line
// matches too. The error names the file and shows its last lines.
func (c *Console) WaitFor(ctx context.Context, pattern *regexp.Regexp) (string, error) {
	tick := time.NewTicker(consolePoll)
	defer tick.Stop()
	for {
		line, found, err := c.next(pattern)
		if err != nil {
			return "", fmt.Errorf("reading console %s: %w", c.path, err)
		}
		if found {
			return line, nil
		}
		select {
		case <-ctx.Done():
			return "", &ConsoleError{Path: c.path, Pattern: pattern.String(), Tail: Tail(c.path), Cause: context.Cause(ctx)}
		case <-tick.C:
		}
	}
}

// next reads what is new and stops after the first line that matches.
func (c *Console) next(pattern *regexp.Regexp) (line string, found bool, err error) {
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return "", false, err
	}
	fresh, err := io.ReadAll(f)
	if err != nil {
		return "", false, err
	}
	rest := string(fresh)
	for {
		raw, after, complete := strings.Cut(rest, "\n")
		line, found := match(pattern, c.partial+raw)
		if !complete {
			c.offset += int64(len(raw))
			c.partial += raw
			if found {
				c.partial = ""
			}
			return line, found, nil
		}
		c.offset += int64(len(raw)) + 1
		c.partial = ""
		if found {
			return line, true, nil
		}
		rest = after
	}
}

// match looks for the pattern in a line, and in what the line was before a
// carriage return began it anew.
func match(pattern *regexp.Regexp, raw string) (line string, found bool) {
	for part := range strings.SplitSeq(raw, "\r") {
		if plain := Plain(part); pattern.MatchString(plain) && (plain != "" || part == raw) {
			return plain, true
		}
	}
	return "", false
}

// A ConsoleError says that a line did not appear.
type ConsoleError struct {
	Path    string
	Pattern string
	// Tail is the end of the console, in plain text.
	Tail string
	// Cause is why the wait ended.
	Cause error
}

func (e *ConsoleError) Error() string {
	return fmt.Sprintf("waiting for %q on console %s: %v; its last lines:\n%s", e.Pattern, e.Path, e.Cause, e.Tail)
}

func (e *ConsoleError) Unwrap() error { return e.Cause }

// Tail returns the last 30 lines of a console in plain text, each indented,
// for use in an error; a file that cannot be read says why instead.
func Tail(path string) string {
	text, err := readEnd(path, tailBytes)
	if err != nil {
		return "    (" + err.Error() + ")"
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		// A carriage return begins the line anew: the last content stays.
		parts := strings.Split(strings.TrimRight(line, "\r"), "\r")
		plain := strings.TrimRightFunc(Plain(parts[len(parts)-1]), unicode.IsSpace)
		if plain == "" {
			continue
		}
		if runes := []rune(plain); len(runes) > tailWidth {
			plain = string(runes[:tailWidth]) + "..."
		}
		lines = append(lines, "    "+plain)
	}
	if len(lines) == 0 {
		return "    (empty)"
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

func readEnd(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if _, err := f.Seek(max(0, info.Size()-limit), io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

// escapes are the control sequences of ECMA-48: CSI (colours, cursor), OSC
// (titles), and two-character ones.
var escapes = regexp.MustCompile("\x1b(?:" + `\[[0-?]*[ -/]*[@-~]` + `|\][^\x07\x1b]*(?:\x07|\x1b\\)` + `|[ -/]*[0-Z\\^-~])`)

// Plain strips a console line of escape sequences and control characters,
// tabs excepted.
func Plain(line string) string {
	line = escapes.ReplaceAllString(line, "")
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, line)
}
