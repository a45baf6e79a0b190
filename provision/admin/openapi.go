package admin

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// OpenAPI describes the API, as it is below [Prefix], in the words of OpenAPI 3.1.
func OpenAPI() ([]byte, error) {
	d := openAPI{
		OpenAPI: "3.1.0",
		Info: openAPIInfo{
			Title: "k8snode, the operators' side of a provisioning server", Version: strings.TrimPrefix(Prefix, "/api/"),
			Description: "A viewer may GET, an operator may everything. Errors carry a text for people, and a code where one can be acted upon.",
		},
		Servers:  []openAPIServer{{Prefix}},
		Security: []map[string][]string{{"token": {}}, {"certificate": {}}},
		Paths:    map[string]map[string]operation{},
		Components: components{
			Schemas: map[string]*schema{},
			SecuritySchemes: map[string]map[string]string{
				"token":       {"type": "http", "scheme": "bearer", "description": "made by k8snode token"},
				"certificate": {"type": "mutualTLS"},
			},
		},
	}
	schemas := schemas(d.Components.Schemas)
	failure := schemas.of(reflect.TypeFor[errorBody]())
	for _, r := range append(nodeRoutes(nil), imageRoutes(nil)...) {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.ReplaceAll(path, "...}", "}")
		o := operation{
			ID: r.name, Summary: r.does,
			Responses: map[string]response{
				"200":     {Description: "done", Content: jsonOf(schemas.of(reflect.TypeOf(r.result)))},
				"default": {Description: "not done", Content: jsonOf(failure)},
			},
		}
		for part := range strings.SplitSeq(path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				o.Parameters = append(o.Parameters, parameter{Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &schema{Type: "string"}})
			}
		}
		switch r.body.(type) {
		case nil:
		case rawBytes:
			o.Parameters = append(o.Parameters, parameter{Name: offsetHeader, In: "header", Required: true, Schema: &schema{Type: "integer"}})
			o.RequestBody = &requestBody{Required: true, Content: map[string]media{"application/octet-stream": {&schema{Type: "string", Format: "binary"}}}}
		case manifest:
			o.Parameters = append(o.Parameters, parameter{Name: signatureHeader, In: "header", Schema: &schema{Type: "string", Format: "byte"}})
			o.RequestBody = &requestBody{Required: true, Content: jsonOf(schemas.of(reflect.TypeOf(r.body)))}
		default:
			o.RequestBody = &requestBody{Required: true, Content: jsonOf(schemas.of(reflect.TypeOf(r.body)))}
		}
		for status, codes := range byStatus(r.fails) {
			o.Responses[status] = response{Description: "not done: " + strings.Join(codes, ", "), Content: jsonOf(failure)}
		}
		if d.Paths[path] == nil {
			d.Paths[path] = map[string]operation{}
		}
		d.Paths[path][strings.ToLower(method)] = o
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	return append(b, '\n'), nil
}

// byStatus sorts the codes of errors by the status that they come with.
func byStatus(codes []string) map[string][]string {
	found := map[string][]string{}
	for _, s := range sentinels() {
		if slices.Contains(codes, s.code) {
			status := fmt.Sprint(s.status)
			found[status] = append(found[status], s.code)
		}
	}
	return found
}

func jsonOf(s *schema) map[string]media { return map[string]media{"application/json": {s}} }

// schemas are those of named structs, so that each is there once.
type schemas map[string]*schema

// of returns the schema of what encoding/json makes of a type.
func (all schemas) of(t reflect.Type) *schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case t == reflect.TypeFor[api.Phase]():
		s := &schema{Type: "string"}
		for _, p := range api.Phases() {
			s.Enum = append(s.Enum, string(p))
		}
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return all.of(t.Elem())
	case reflect.Slice:
		return &schema{Type: "array", Items: all.of(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Struct:
		if t.Name() == "" {
			return &schema{Type: "object"}
		}
		name := t.Name()
		if t.PkgPath() != reflect.TypeFor[Node]().PkgPath() {
			name = t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:] + name
		}
		if all[name] == nil {
			s := &schema{Type: "object", Properties: map[string]*schema{}}
			all[name] = s
			all.fields(s, t)
		}
		return &schema{Ref: "#/components/schemas/" + name}
	}
	return &schema{Type: "integer"}
}

func (all schemas) fields(s *schema, t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous && f.Tag.Get("json") == "" {
			all.fields(s, f.Type)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		s.Properties[name] = all.of(f.Type)
		if !strings.Contains(options, "omit") {
			s.Required = append(s.Required, name)
		}
	}
}

// The parts of OpenAPI 3.1 that describe this API.
type (
	openAPI struct {
		OpenAPI    string                          `json:"openapi"`
		Info       openAPIInfo                     `json:"info"`
		Servers    []openAPIServer                 `json:"servers"`
		Security   []map[string][]string           `json:"security"`
		Paths      map[string]map[string]operation `json:"paths"`
		Components components                      `json:"components"`
	}
	openAPIInfo struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	}
	openAPIServer struct {
		URL string `json:"url"`
	}
	operation struct {
		ID          string              `json:"operationId"`
		Summary     string              `json:"summary"`
		Parameters  []parameter         `json:"parameters,omitempty"`
		RequestBody *requestBody        `json:"requestBody,omitempty"`
		Responses   map[string]response `json:"responses"`
	}
	parameter struct {
		Name     string  `json:"name"`
		In       string  `json:"in"`
		Required bool    `json:"required"`
		Schema   *schema `json:"schema"`
	}
	requestBody struct {
		Required bool             `json:"required"`
		Content  map[string]media `json:"content"`
	}
	response struct {
		Description string           `json:"description"`
		Content     map[string]media `json:"content"`
	}
	media struct {
		Schema *schema `json:"schema"`
	}
	components struct {
		Schemas         map[string]*schema           `json:"schemas"`
		SecuritySchemes map[string]map[string]string `json:"securitySchemes"`
	}
	schema struct {
		Ref        string             `json:"$ref,omitempty"`
		Type       string             `json:"type,omitempty"`
		Format     string             `json:"format,omitempty"`
		Enum       []string           `json:"enum,omitempty"`
		Items      *schema            `json:"items,omitempty"`
		Properties map[string]*schema `json:"properties,omitempty"`
		Required   []string           `json:"required,omitempty"`
	}
)
