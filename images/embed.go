package images

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// The folder is embedded with the files that recipes name as their sources.
//
//go:embed all:recipes
var recipes embed.FS

// Names returns the names of the embedded recipes, sorted.
func Names() []string {
	var names []string
	// The folder is part of the program and is always there.
	entries, _ := recipes.ReadDir("recipes")
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".yaml"); ok && !entry.IsDir() {
			names = append(names, name)
		}
	}
	return names
}

// Open returns the folder of the embedded recipe with that name and the file
// in it: fs.ReadFile(folder, file) is the document for [Parse], and the
// recipe's sources are relative to folder. The error wraps [fs.ErrNotExist] if
// there is no such recipe.
func Open(name string) (folder fs.FS, file string, err error) {
	folder, err = fs.Sub(recipes, "recipes")
	if err != nil {
		return nil, "", fmt.Errorf("opening the embedded recipes: %w", err)
	}
	file = name + ".yaml"
	if path.Base(file) != file {
		return nil, "", fmt.Errorf("opening recipe %q: %w", name, fs.ErrNotExist)
	}
	if _, err := fs.Stat(folder, file); err != nil {
		return nil, "", fmt.Errorf("opening recipe %q: %w", name, err)
	}
	return folder, file, nil
}
