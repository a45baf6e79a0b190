package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Style says how Format prints.
type Style int

// The styles. The caller decides which one fits the terminal and NO_COLOR.
const (
	Plain Style = iota
	Colour
)

// contextLines is the number of lines printed before the one with the problem.
const contextLines = 2

// Escape sequences of [Colour].
const (
	red    = "\x1b[1;31m"
	yellow = "\x1b[1;33m"
	blue   = "\x1b[1;34m"
	green  = "\x1b[1;32m"
	reset  = "\x1b[0m"
)

// Format prints the problems, sorted, each with up to two lines of the source
// before it and an underline. Source is the content of the file that the
// problems are about; a problem without a line, or with one that source does
// not have, is printed without lines.
func (ps Problems) Format(source []byte, style Style) string {
	var lines []string
	if len(source) > 0 {
		lines = strings.Split(string(source), "\n")
	}
	var b strings.Builder
	for i, p := range ps.Sorted() {
		if i > 0 {
			b.WriteByte('\n')
		}
		writeProblem(&b, p, lines, style)
	}
	return b.String()
}

func writeProblem(b *strings.Builder, p Problem, lines []string, style Style) {
	label, colour := p.Severity.String(), red
	if p.Severity == Warning {
		colour = yellow
	}
	if p.Path != "" {
		label += "[" + string(p.Path) + "]"
	}
	fmt.Fprintf(b, "%s: %s\n", style.paint(colour, label), printable(p.Message))
	if place := p.place(); place != "" {
		fmt.Fprintf(b, "  %s %s\n", style.paint(blue, "-->"), place)
	}
	if p.Line >= 1 && p.Line <= len(lines) {
		writeSource(b, p, lines, style, colour)
	}
	if p.Remedy != "" {
		fmt.Fprintf(b, "  %s %s\n", style.paint(green, "remedy:"), printable(p.Remedy))
	}
}

func writeSource(b *strings.Builder, p Problem, lines []string, style Style, colour string) {
	width := len(strconv.Itoa(p.Line))
	bar := style.paint(blue, "|")
	fmt.Fprintf(b, "%*s %s\n", width, "", bar)
	for n := max(p.Line-contextLines, 1); n <= p.Line; n++ {
		number := style.paint(blue, fmt.Sprintf("%*d", width, n))
		line := printable(strings.TrimRight(lines[n-1], "\r"))
		fmt.Fprintf(b, "%s\n", strings.TrimRight(number+" "+bar+" "+line, " "))
	}
	indent, length := underline(printable(strings.TrimRight(lines[p.Line-1], "\r")), max(p.Col, 1))
	fmt.Fprintf(b, "%*s %s %s%s\n", width, "", bar, indent, style.paint(colour, strings.Repeat("^", length)))
}

// underline returns the blank that moves to column col of line, with the tabs
// of the line kept, and the length of the word or quoted string there.
func underline(line string, col int) (indent string, length int) {
	runes := []rune(line)
	start := min(col-1, len(runes))
	var b strings.Builder
	for _, r := range runes[:start] {
		if r == '\t' {
			b.WriteRune('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String(), max(utf8.RuneCountInString(token(string(runes[start:]))), 1)
}

// token returns the YAML scalar or key at the start of s.
func token(s string) string {
	if s == "" {
		return ""
	}
	if quote := s[0]; quote == '"' || quote == '\'' {
		if end := strings.IndexByte(s[1:], quote); end >= 0 {
			return s[:end+2]
		}
		return s
	}
	end := len(s)
	for _, stop := range []string{": ", " #", ", ", "]", "}"} {
		if i := strings.Index(s, stop); i >= 0 {
			end = min(end, i)
		}
	}
	return strings.TrimRight(strings.TrimSuffix(s[:end], ":"), " ")
}

// printable replaces control characters, which could move the cursor of a
// terminal, by the replacement character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0)) {
			return utf8.RuneError
		}
		return r
	}, s)
}

func (s Style) paint(colour, text string) string {
	if s != Colour {
		return text
	}
	return colour + text + reset
}
