package strictyaml_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/strictyaml"
)

func TestFromJSON(t *testing.T) {
	got, err := strictyaml.FromJSON([]byte(`[{"name": "cp1", "done": 12, "open": true, "text": "true", "number": "1e3",
		"empty": "", "when": "2026-03-01T12:45:00Z", "lines": "a\nb\n", "list": [], "no": null, "key: odd": "a: b #c"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := `- name: cp1
  done: 12
  open: true
  text: "true"
  number: "1e3"
  empty: ""
  when: "2026-03-01T12:45:00Z"
  lines: |
    a
    b
  list: []
  no: null
  'key: odd': 'a: b #c'
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := strictyaml.FromJSON([]byte(`{"a": `)); err == nil {
		t.Error("half a document was taken")
	}
}
