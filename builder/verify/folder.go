package verify

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// readManifest reads the manifest and takes the recipe from it.
func (v *verifier) readManifest() bool {
	const artifact = images.ManifestFile
	b, err := os.ReadFile(v.file(artifact))
	if errors.Is(err, fs.ErrNotExist) {
		v.add(artifact, "name the folder that a bake made", "it is missing")
		return false
	}
	if err != nil {
		v.add(artifact, copyAgain, "it cannot be read: %v", err)
		return false
	}
	v.text = b
	if err := json.Unmarshal(b, &v.m); err != nil {
		v.add(artifact, copyAgain, "it is no JSON: %v", err)
		return false
	}
	if v.m.APIVersion != images.APIVersion || v.m.Kind != images.ManifestKind {
		v.add(artifact, "name the folder that a bake made", "it is %s %s, not %s %s", v.m.APIVersion, v.m.Kind, images.APIVersion, images.ManifestKind)
		return false
	}
	v.report.Name, v.report.ID = v.m.Name, v.m.ID
	if v.m.Recipe == nil {
		v.add(artifact, bakeAgain, "it has no recipe: an older k8snode made it")
		return false
	}
	v.recipe = *v.m.Recipe
	return true
}

// outputs are the artifacts of each output.
func outputs(o images.Output) []string {
	switch o {
	case images.OutputRaw:
		return []string{images.RawFile}
	case images.OutputZstd:
		return []string{images.DiskFile, images.BlockMapFile}
	case images.OutputPXE:
		return []string{images.KernelFile, images.InitrdFile, images.RootFile, images.IPXEFile}
	case images.OutputISO:
		return []string{images.ISOFile}
	case images.OutputInstaller:
		return []string{images.InstallerFile}
	}
	return nil
}

// checkFolder compares the files of the folder with the recipe's outputs, the
// manifest and SHA256SUMS. Their digests are computed later.
func (v *verifier) checkFolder() {
	listed := map[string]images.Artifact{}
	for _, a := range v.m.Artifacts {
		listed[a.Path] = a
	}
	wanted := map[string]bool{images.ManifestFile: true, images.SBOMFile: true, images.SumsFile: true, images.SignatureFile: false}
	for _, o := range images.Outputs() {
		for _, name := range outputs(o) {
			_, inManifest := listed[name]
			switch {
			case v.wants(o) && !inManifest:
				v.add(name, bakeAgain, "the manifest does not list it, and the recipe has the output %s", o)
			case !v.wants(o) && inManifest:
				v.add(name, bakeAgain, "the manifest lists it, and the recipe does not have the output %s", o)
			}
			wanted[name] = v.wants(o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if _, known := wanted[name]; !known {
			v.add(name, bakeAgain, "the manifest lists it, and no output has such a file")
		}
	}
	have := v.walk()
	for name := range have {
		if _, known := wanted[name]; !known {
			v.add(name, "remove it: what is in the folder is published", "it is not a part of the image")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := have[name]; wanted[name] && !ok {
			v.add(name, copyAgain, "it is missing")
		}
	}
	v.digests(have, listed, v.readSums(have))
}

// walk returns the sizes of the files.
func (v *verifier) walk() map[string]int64 {
	have := map[string]int64{}
	err := filepath.WalkDir(v.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(v.dir, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !d.Type().IsRegular() {
			v.add(name, copyAgain, "it is not a regular file")
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		have[name] = st.Size()
		v.report.Files++
		v.report.Bytes += st.Size()
		return nil
	})
	if err != nil {
		v.add(".", copyAgain, "the folder cannot be read: %v", err)
	}
	return have
}

// readSums reads SHA256SUMS and compares its names with the files.
func (v *verifier) readSums(have map[string]int64) map[string]string {
	const artifact = images.SumsFile
	sums := map[string]string{}
	f, err := os.Open(v.file(artifact))
	if err != nil {
		return sums // missing, which is a finding already
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 || sum != strings.ToLower(sum) {
			v.add(artifact, copyAgain, "line %d is not a SHA-256, two spaces and a name", n)
			continue
		}
		if _, twice := sums[name]; twice {
			v.add(artifact, copyAgain, "line %d names %s a second time", n, name)
		}
		if _, ok := have[name]; !ok {
			v.add(artifact, copyAgain, "line %d names %s, which is not there", n, name)
		}
		sums[name] = sum
	}
	if err := lines.Err(); err != nil {
		v.add(artifact, copyAgain, "it cannot be read: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := sums[name]; !ok && name != artifact && name != images.SignatureFile {
			v.add(artifact, copyAgain, "it does not name %s", name)
		}
	}
	return sums
}

// digests hashes every file once and compares it with both lists.
func (v *verifier) digests(have map[string]int64, listed map[string]images.Artifact, sums map[string]string) {
	names := slices.Collect(maps.Keys(have))
	// The largest first: they end last.
	slices.SortFunc(names, func(a, b string) int {
		if have[a] != have[b] {
			return int(min(max(have[b]-have[a], -1), 1))
		}
		return strings.Compare(a, b)
	})
	names = slices.DeleteFunc(names, func(name string) bool { return name == images.SumsFile })
	v.progress.TotalFiles = len(names)
	for _, name := range names {
		v.progress.TotalBytes += have[name]
	}
	for _, name := range names {
		a, inManifest := listed[name]
		if inManifest && a.Size != have[name] {
			v.add(name, copyAgain, "it has %d bytes, and the manifest says %d", have[name], a.Size)
		}
		v.later("digests", name, func() error {
			got, err := digest(v.ctx, v.file(name), func(n int64) { v.hashed(0, n) })
			if err != nil {
				return fmt.Errorf("it cannot be read: %w", err)
			}
			v.hashed(1, 0)
			if want, ok := sums[name]; ok && got != want {
				v.add(name, copyAgain, "its SHA-256 is %s, and %s says %s", got, images.SumsFile, want)
			}
			if inManifest && got != a.SHA256 {
				v.add(name, copyAgain, "its SHA-256 is %s, and the manifest says %s", got, a.SHA256)
			}
			return nil
		})
	}
}
