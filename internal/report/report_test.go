package report_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/report"
)

func TestProblemString(t *testing.T) {
	tests := []struct {
		name    string
		problem report.Problem
		want    string
	}{
		{"all parts", report.Problem{File: "a.yaml", Line: 3, Col: 7, Path: "spec.x", Message: "missing", Remedy: "write it"}, "a.yaml:3:7: spec.x: missing (write it)"},
		{"no remedy", report.Problem{File: "a.yaml", Line: 3, Col: 7, Path: "spec.x", Message: "missing"}, "a.yaml:3:7: spec.x: missing"},
		{"no path", report.Problem{File: "a.yaml", Line: 1, Col: 1, Message: "the document is empty"}, "a.yaml:1:1: the document is empty"},
		{"no column", report.Problem{File: "a.yaml", Line: 9, Message: "odd"}, "a.yaml:9:1: odd"},
		{"no place", report.Problem{File: "a.yaml", Path: "spec", Message: "odd"}, "a.yaml: spec: odd"},
		{"message only", report.Problem{Message: "odd"}, "odd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.problem.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestProblemsAreSorted(t *testing.T) {
	problems := report.Problems{
		{File: "b.yaml", Line: 1, Col: 1, Message: "fifth"},
		{File: "a.yaml", Line: 10, Col: 1, Message: "fourth"},
		{File: "a.yaml", Line: 2, Col: 5, Message: "second"},
		{File: "a.yaml", Line: 2, Col: 5, Message: "third"},
		{File: "a.yaml", Line: 2, Col: 1, Message: "first"},
	}
	want := "a.yaml:2:1: first\na.yaml:2:5: second\na.yaml:2:5: third\na.yaml:10:1: fourth\nb.yaml:1:1: fifth"
	if got := problems.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if problems[0].Message != "fifth" {
		t.Error("sorting changed the receiver")
	}
}

func TestErr(t *testing.T) {
	if err := (report.Problems{}).Err(); err != nil {
		t.Errorf("no problems: got error %v, want nil", err)
	}
	var problems report.Problems
	problems.Add("spec", "missing", "")
	wrapped := fmt.Errorf("reading: %w", problems.Err())
	var got report.Problems
	if !errors.As(wrapped, &got) {
		t.Fatalf("errors.As does not find the problems in %v", wrapped)
	}
	if diff := cmp.Diff(report.Problems{{Path: "spec", Message: "missing"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPath(t *testing.T) {
	spec := report.Path("").Field("spec")
	tests := []struct {
		path         report.Path
		want, parent report.Path
	}{
		{spec, "spec", ""},
		{spec.Field("nodes").Index(2).Field("mac"), "spec.nodes[2].mac", "spec.nodes[2]"},
		{spec.Field("nodes").Index(10), "spec.nodes[10]", "spec.nodes"},
		{spec.Field("sysctls").Field("net.ipv4"), `spec.sysctls["net.ipv4"]`, "spec.sysctls"},
		{spec.Field(`a["b`), `spec["a[\"b"]`, "spec"},
		{spec.Field(`x"]`).Field("y"), `spec["x\"]"].y`, `spec["x\"]"]`},
		{"", "", ""},
	}
	for _, tt := range tests {
		if tt.path != tt.want {
			t.Errorf("got path %s, want %s", tt.path, tt.want)
		}
		if got := tt.path.Parent(); got != tt.parent {
			t.Errorf("%s: got parent %s, want %s", tt.path, got, tt.parent)
		}
	}
}

func TestPathWithin(t *testing.T) {
	tests := []struct {
		path, outer report.Path
		want        bool
	}{
		{"spec.nodes[0].mac", "spec.nodes", true},
		{"spec.nodes", "spec.nodes", true},
		{"spec.nodes", "", true},
		{"spec.nodesExtra", "spec.nodes", false},
		{"spec", "spec.nodes", false},
		{"spec.nodes[10]", "spec.nodes[1]", false},
	}
	for _, tt := range tests {
		if got := tt.path.Within(tt.outer); got != tt.want {
			t.Errorf("%q within %q: got %t, want %t", tt.path, tt.outer, got, tt.want)
		}
	}
}
