package images_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/fieldref"
	"github.com/k8snode/k8snode/internal/golden"
)

const (
	referenceFile = "../docs/recipe.md"
	generated     = "<!-- From here on, go test ./images -update writes this page from images/recipe.go. -->\n"
)

// The reference is what recipe.go says, and its examples are recipes.
func TestReference(t *testing.T) {
	page, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	written, _, ok := bytes.Cut(page, []byte(generated))
	if !ok {
		t.Fatalf("%s has no line %q", referenceFile, generated)
	}
	golden.Check(t, referenceFile, []byte(string(written)+generated+reference(t)))
}

func TestReferenceExamples(t *testing.T) {
	page := string(read(t, referenceFile))
	examples := fstest.MapFS{}
	block := regexp.MustCompile("(?s)```yaml\n# ([a-z-]+\\.yaml)\n(.*?)```")
	for _, m := range block.FindAllStringSubmatch(page, -1) {
		examples[m[1]] = &fstest.MapFile{Data: []byte(m[2])}
	}
	if len(examples) < 2 {
		t.Fatalf("found %d examples", len(examples))
	}
	for name := range examples {
		if _, err := images.Load("./"+name, images.LoadOptions{Open: open(examples)}); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
	sets := regexp.MustCompile(`--set '([^']*)'`).FindAllStringSubmatch(page, -1)
	if len(sets) < 3 {
		t.Fatalf("found %d overrides", len(sets))
	}
	for _, m := range sets {
		if _, err := images.Load("node", images.LoadOptions{Set: []string{m[1]}}); err != nil {
			t.Errorf("%s:\n%v", m[0], err)
		}
	}
}

// reference writes a section for each struct that a recipe is made of.
func reference(t *testing.T) string {
	t.Helper()
	var empty images.Recipe
	fieldref.Fill(&empty)
	// Its kind depends on the path.
	for i := range empty.Spec.Downloads {
		empty.Spec.Downloads[i].Path = "/path"
	}
	complete := empty.Default()
	required := []string{"apiVersion", "kind"} // The decoder asks for these first.
	// What is wrong with an empty field, and has no default, is required.
	for _, p := range complete.Validate() {
		if path := strings.ReplaceAll(string(p.Path), "[0]", "[]"); !strings.HasSuffix(path, "[]") {
			required = append(required, path)
		}
	}
	text, err := fieldref.Write(fieldref.Options{Empty: &empty, Complete: &complete, Required: required, Sources: []string{"recipe.go"}})
	if err != nil {
		t.Error(err)
	}
	return text
}
