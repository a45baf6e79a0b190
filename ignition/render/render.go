package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	bu "github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"github.com/coreos/vcontext/report"

	"github.com/k8snode/k8snode/ignition"
)

// Render translates the document; name, for instance a file name, begins each
// line of the error.
func Render(name string, document []byte) (ignition.Config, error) {
	content, r, err := bu.TranslateBytes(document, common.TranslateBytesOptions{
		TranslateOptions: common.TranslateOptions{NoResourceAutoCompression: true},
		Raw:              true,
	})
	if problems := problems(name, r); len(problems) > 0 {
		return ignition.Config{}, errors.New(strings.Join(problems, "\n"))
	}
	if err != nil {
		return ignition.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	c, err := ignition.New(content)
	if err != nil {
		return ignition.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// problems lists the errors and warnings of a report, in the order of the
// document.
func problems(name string, r report.Report) []string {
	entries := slices.DeleteFunc(slices.Clone(r.Entries), func(e report.Entry) bool {
		return e.Kind == report.Info
	})
	slices.SortStableFunc(entries, func(a, b report.Entry) int {
		lineA, columnA := position(a)
		lineB, columnB := position(b)
		if lineA != lineB {
			return int(lineA - lineB)
		}
		return int(columnA - columnB)
	})
	var lines []string
	for _, e := range entries {
		text := name
		if line, column := position(e); line > 0 {
			text += fmt.Sprintf(":%d:%d", line, column)
		}
		if e.Context.Len() > 0 {
			text += ": " + e.Context.String()
		}
		lines = append(lines, text+": "+e.Message)
	}
	return lines
}

// position is zero when Butane gives none.
func position(e report.Entry) (line, column int64) {
	if e.Marker.StartP == nil {
		return 0, 0
	}
	return e.Marker.StartP.Line, e.Marker.StartP.Column
}
