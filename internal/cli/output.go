package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/k8snode/k8snode/internal/strictyaml"
)

// documents prints values as JSON or YAML, one document after the other.
type documents struct {
	w       io.Writer
	format  string
	printed bool
}

func (d *documents) write(value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if d.format == "yaml" {
		if text, err = strictyaml.FromJSON(text); err != nil {
			return err
		}
		if d.printed {
			text = append([]byte("---\n"), text...)
		}
	}
	d.printed = true
	_, err = d.w.Write(text)
	return err
}

// table prints rows in columns. What comes later is under what came before, as
// long as it is not wider.
type table struct {
	w      io.Writer
	widths []int
}

func (t *table) write(rows [][]string) error {
	var text strings.Builder
	for _, row := range rows {
		for len(t.widths) < len(row) {
			t.widths = append(t.widths, 0)
		}
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], len(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row[:len(row)-1] {
			fmt.Fprintf(&text, "%-*s  ", t.widths[i], cell)
		}
		text.WriteString(row[len(row)-1] + "\n")
	}
	_, err := io.WriteString(t.w, text.String())
	return err
}
