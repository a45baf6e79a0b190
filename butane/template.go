package butane

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

// Templates are bodies of leaf files in formats that have no encoder; what is
// YAML or JSON is marshalled from structs.
//
//go:embed templates/*.tmpl
var templateFiles embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(templateFiles, "templates/*.tmpl"))

func execute(name string, data any) (string, error) {
	var out strings.Builder
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return "", fmt.Errorf("filling template %s: %w", name, err)
	}
	return out.String(), nil
}
