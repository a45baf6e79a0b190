package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/report"
)

func TestFormat(t *testing.T) {
	const source = "kind: Cluster\nspec:\n  nodes:\n    - name: w1\n\t  mac: zz # the NIC\n  list: [a, \"b c\", d]\n  last: x"
	tests := []struct {
		name    string
		problem report.Problem
		want    string
	}{
		{
			"a value, two lines before it",
			report.Problem{File: "c.yaml", Line: 4, Col: 13, Path: "spec.nodes[0].name", Message: "taken", Remedy: "choose another"},
			"error[spec.nodes[0].name]: taken\n" +
				"  --> c.yaml:4:13\n" +
				"  |\n" +
				"2 | spec:\n" +
				"3 |   nodes:\n" +
				"4 |     - name: w1\n" +
				"  |             ^^\n" +
				"  remedy: choose another\n",
		},
		{
			"a key in the first line",
			report.Problem{File: "c.yaml", Line: 1, Col: 1, Path: "kind", Message: "odd"},
			"error[kind]: odd\n  --> c.yaml:1:1\n  |\n1 | kind: Cluster\n  | ^^^^\n",
		},
		{
			"a tab stays a tab, a comment is not underlined",
			report.Problem{File: "c.yaml", Line: 5, Col: 9, Message: "odd"},
			"error: odd\n  --> c.yaml:5:9\n  |\n3 |   nodes:\n4 |     - name: w1\n5 | \t  mac: zz # the NIC\n  | \t       ^^\n",
		},
		{
			"a quoted element of a flow list",
			report.Problem{File: "c.yaml", Line: 6, Col: 13, Message: "odd"},
			"error: odd\n  --> c.yaml:6:13\n  |\n4 |     - name: w1\n5 | \t  mac: zz # the NIC\n6 |   list: [a, \"b c\", d]\n  |             ^^^^^\n",
		},
		{
			"a column after the end of the line",
			report.Problem{File: "c.yaml", Line: 2, Col: 99, Message: "odd"},
			"error: odd\n  --> c.yaml:2:99\n  |\n1 | kind: Cluster\n2 | spec:\n  |      ^\n",
		},
		{
			"a line that the source does not have",
			report.Problem{File: "c.yaml", Line: 99, Col: 1, Message: "odd"},
			"error: odd\n  --> c.yaml:99:1\n",
		},
		{
			"no line",
			report.Problem{File: "c.yaml", Message: "odd"},
			"error: odd\n  --> c.yaml\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := report.Problems{tt.problem}.Format([]byte(source), report.Plain)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFormatSeveralInColour(t *testing.T) {
	problems := report.Problems{
		{File: "c.yaml", Line: 2, Col: 1, Message: "second", Remedy: "do"},
		{File: "c.yaml", Line: 1, Col: 4, Message: "first"},
	}
	const red, blue, green, reset = "\x1b[1;31m", "\x1b[1;34m", "\x1b[1;32m", "\x1b[0m"
	want := red + "error" + reset + ": first\n" +
		"  " + blue + "-->" + reset + " c.yaml:1:4\n" +
		"  " + blue + "|" + reset + "\n" +
		blue + "1" + reset + " " + blue + "|" + reset + " a: b\n" +
		"  " + blue + "|" + reset + "    " + red + "^" + reset + "\n" +
		"\n" +
		red + "error" + reset + ": second\n" +
		"  " + blue + "-->" + reset + " c.yaml:2:1\n" +
		"  " + blue + "|" + reset + "\n" +
		blue + "1" + reset + " " + blue + "|" + reset + " a: b\n" +
		blue + "2" + reset + " " + blue + "|" + reset + " c: d\n" +
		"  " + blue + "|" + reset + " " + red + "^" + reset + "\n" +
		"  " + green + "remedy:" + reset + " do\n"
	if diff := cmp.Diff(want, problems.Format([]byte("a: b\nc: d\n"), report.Colour)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is empty, or could not be read, has no first line to show.
func TestFormatWithoutSource(t *testing.T) {
	problems := report.Problems{{File: "c.yaml", Line: 1, Col: 1, Message: "the document is empty"}}
	want := "error: the document is empty\n  --> c.yaml:1:1\n"
	if diff := cmp.Diff(want, problems.Format(nil, report.Plain)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A document must not be able to write to the terminal that shows it.
func TestFormatKeepsControlCharacters(t *testing.T) {
	problems := report.Problems{{File: "c.yaml", Line: 1, Col: 1, Message: "odd \x1b[2J"}}
	want := "error: odd \uFFFD[2J\n  --> c.yaml:1:1\n  |\n1 | a: \uFFFD[31m\n  | ^\n"
	if diff := cmp.Diff(want, problems.Format([]byte("a: \x1b[31m\r\n"), report.Plain)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
