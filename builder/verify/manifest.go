package verify

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/images"
)

// checkManifest compares what the manifest says of the image with its recipe,
// and with what the caller knows.
func (v *verifier) checkManifest() {
	const artifact = images.ManifestFile
	m, spec := v.m, v.recipe.Spec
	if m.Name != v.recipe.Metadata.Name {
		v.add(artifact, bakeAgain, "the image is named %q, and its recipe %q", m.Name, v.recipe.Metadata.Name)
	}
	if v.o.Recipe != nil {
		v.compareRecipe(v.o.Recipe.WithoutMirrors())
	}
	if v.o.Inputs != nil {
		v.compareInputs(artifact, "the lock", v.o.Inputs, m.Inputs)
	}
	v.compareFiles()
	layout, err := disk.NewLayout(spec.Disk, m.ID, m.Root.Total)
	switch {
	case err != nil:
		v.add(artifact, bakeAgain, "%v", err)
	case !reflect.DeepEqual(layout.Info, m.Disk):
		v.add(artifact, bakeAgain, "the disk is not the one that spec.disk and the image's ID make")
	}
	if want := images.InstalledCmdline(m.Root, m.Disk, spec.Kernel.Arguments); m.Cmdline != want {
		v.add(artifact, bakeAgain, "the command line is %q, and the recipe makes %q", m.Cmdline, want)
	}
	for _, mod := range spec.Modules {
		if !slices.ContainsFunc(m.Inputs, func(in images.Input) bool {
			return in.Source == sbom.SourceModule && in.Name == mod.Module && in.Version == mod.Version
		}) {
			v.add(artifact, bakeAgain, "the inputs do not have the module %s %s of the recipe", mod.Module, mod.Version)
		}
	}
	v.checkListed()
}

// compareRecipe names the fields in which two recipes differ.
func (v *verifier) compareRecipe(want images.Recipe) {
	fields := func(r images.Recipe) map[string]any {
		all := map[string]any{}
		b, err := json.Marshal(r.Spec)
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			v.add(images.ManifestFile, bakeAgain, "the recipe cannot be compared: %v", err)
		}
		return all
	}
	a, b := fields(want), fields(v.recipe)
	var differ []string
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			differ = append(differ, "spec."+k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			differ = append(differ, "spec."+k)
		}
	}
	if want.Metadata != v.recipe.Metadata {
		differ = append(differ, "metadata")
	}
	slices.Sort(differ)
	if len(differ) > 0 {
		v.add(images.ManifestFile, bakeAgain, "the image was made of another recipe, with other %s", strings.Join(differ, ", "))
	}
}

// compareInputs names every input that only one of two lists has.
func (v *verifier) compareInputs(artifact, where string, want, got []images.Input) {
	count := map[images.Input]bool{}
	for _, in := range want {
		count[in] = true
	}
	have := map[images.Input]bool{}
	for _, in := range got {
		have[in] = true
		if !count[in] {
			v.add(artifact, bakeAgain, "it has %s, which %s has not", inputName(in), where)
		}
	}
	for _, in := range slices.SortedFunc(maps.Keys(count), sbom.CompareInputs) {
		if !have[in] {
			v.add(artifact, bakeAgain, "it lacks %s, which %s has", inputName(in), where)
		}
	}
}

func inputName(in images.Input) string {
	return strings.Join(strings.Fields(strings.Join([]string{in.Source, in.Name, in.Version, in.Digest}, " ")), " ")
}

// compareFiles looks for the files of the caller's recipe in the manifest.
func (v *verifier) compareFiles() {
	listed := map[images.InstalledFile]bool{}
	for _, f := range v.m.Files {
		listed[f] = true
	}
	changed := v.changed()
	for _, f := range v.o.Files {
		if _, ok := changed[f.Path]; !ok && !listed[f] {
			v.add(images.ManifestFile, bakeAgain, "it does not list %s as the recipe makes it", f.Path)
		}
	}
}

// changed says what happened to files after the recipe had put them there.
func (v *verifier) changed() map[string]images.ChangeKind {
	changed := make(map[string]images.ChangeKind, len(v.m.Provisioned))
	for _, c := range v.m.Provisioned {
		changed[c.Path] = c.Change
	}
	return changed
}

// checkListed looks for every path that the recipe names among the files: what
// is listed there is then compared with the root.
func (v *verifier) checkListed() {
	listed := map[string]bool{}
	for _, f := range v.m.Files {
		listed[f.Path] = true
	}
	changed := v.changed()
	for _, p := range recipePaths(v.recipe.Spec) {
		if changed[p] != images.ChangeRemoved && !listed[p] {
			v.add(images.ManifestFile, bakeAgain, "it does not list %s, which the recipe puts into the root", p)
		}
	}
}

// recipePaths are the paths in the root that a recipe names.
func recipePaths(s images.Spec) []string {
	paths := []string{images.AgentPath}
	for _, u := range s.Units {
		if u.Source != "" {
			paths = append(paths, unitDir+u.Name)
		}
		for _, d := range u.Dropins {
			paths = append(paths, unitDir+u.Name+".d/"+d.Name)
		}
	}
	for _, f := range s.Files {
		paths = append(paths, f.Path)
	}
	for _, m := range s.Modules {
		for _, p := range m.Programs {
			if p.Path != "" {
				paths = append(paths, p.Path)
			}
		}
	}
	for _, d := range s.Downloads {
		if d.Path != "" {
			paths = append(paths, d.Path)
		}
	}
	for _, c := range s.Containers {
		paths = append(paths, "/"+images.ContainerPath(c))
	}
	return paths
}
