package images

import "github.com/k8snode/k8snode/internal/strictyaml"

// Parse reads a recipe, fills in the defaults and checks it. File is the name
// of the document in problems. The error is a report.Problems with all that is
// wrong with the recipe; the recipe is then empty.
func Parse(file string, data []byte) (Recipe, error) {
	schema := strictyaml.Schema[Recipe]{
		APIVersion: APIVersion,
		Kind:       RecipeKind,
		Default:    Recipe.Default,
		Validate:   Recipe.Validate,
	}
	return schema.Parse(file, data)
}
