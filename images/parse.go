package images

import (
	"strings"

	"github.com/k8snode/k8snode/internal/strictyaml"
)

// schema is the one of recipes.
func schema() strictyaml.Schema[Recipe] {
	return strictyaml.Schema[Recipe]{
		APIVersion: APIVersion,
		Kind:       RecipeKind,
		Default:    Recipe.Default,
		Validate:   Recipe.Validate,
		Lists:      lists(),
	}
}

// lists are the lists whose elements have a name, by which a recipe changes
// those of the one that it extends.
func lists() strictyaml.Lists {
	return strictyaml.Lists{
		"spec.kernel.arguments": {},
		"spec.packages":         {Name: packageName},
		"spec.kernelModules":    {Name: kernelModuleName},
		"spec.modules":          {Field: "module"},
		"spec.downloads": {Field: "name", Name: func(field func(string) string) string {
			return downloadName(field("name"), field("member"), field("url"))
		}},
		"spec.containers": {Field: "reference"},
		"spec.units":      {Field: "name"},
		"spec.files":      {Field: "path"},
		"spec.users":      {Field: "name"},
	}
}

// packageName drops the suite: a package is taken from one.
func packageName(field func(string) string) string {
	name, _, _ := strings.Cut(field(""), "/")
	return name
}

// kernelModuleName is the one form of a name: the kernel makes no difference
// between a hyphen and an underscore.
func kernelModuleName(field func(string) string) string {
	return strings.ReplaceAll(field(""), "-", "_")
}

// Parse reads a recipe, fills in the defaults and checks it. File is the name
// of the document in problems. The error is a report.Problems with all that is
// wrong with the recipe; the recipe is then empty.
//
// The recipe may extend an embedded one; [Load] reads one that extends a file
// and finds the sources of both.
func Parse(file string, data []byte) (Recipe, error) {
	doc, err := schema().Open(file, data)
	if err != nil {
		return Recipe{}, err
	}
	chain, err := loader{}.chain(link{id: file, file: file, doc: doc})
	if err != nil {
		return Recipe{}, err
	}
	loaded, err := chain.merge(nil)
	return loaded.Recipe, err
}

// YAML returns the recipe as a document that [Parse] reads back to the same
// recipe. What has a default or is merged is written out.
func (r Recipe) YAML() ([]byte, error) { return strictyaml.Marshal(r) }
