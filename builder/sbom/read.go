package sbom

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// A Document is what [Read] finds in one.
type Document struct {
	// Namespace is the document's own URI.
	Namespace string
	// Inputs are those that the image was made from, in the words of a
	// manifest, sorted.
	Inputs []images.Input
	// Packages counts everything that is listed.
	Packages int
}

// Read reads a document that [Write] wrote.
func Read(r io.Reader) (Document, error) {
	var d document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return Document{}, fmt.Errorf("reading the SBOM: %w", err)
	}
	if d.SPDXVersion != spdxVersion {
		return Document{}, fmt.Errorf("reading the SBOM: it is %q, not %s", d.SPDXVersion, spdxVersion)
	}
	packages := make(map[string]spdxPackage, len(d.Packages))
	for _, p := range d.Packages {
		packages[p.SPDXID] = p
	}
	out := Document{Namespace: d.DocumentNamespace, Packages: len(d.Packages)}
	var image string
	for _, rel := range d.Relationships {
		if rel.Element == documentID && rel.Type == describes {
			image = rel.Related
		}
	}
	for _, rel := range d.Relationships {
		if rel.Element != image || rel.Type != generatedFrom {
			continue
		}
		p, ok := packages[rel.Related]
		if !ok {
			return Document{}, fmt.Errorf("reading the SBOM: there is no %s", rel.Related)
		}
		in, err := p.input()
		if err != nil {
			return Document{}, fmt.Errorf("reading the SBOM: %s: %w", p.SPDXID, err)
		}
		out.Inputs = append(out.Inputs, in)
	}
	slices.SortFunc(out.Inputs, CompareInputs)
	return out, nil
}

// CompareInputs orders inputs.
func CompareInputs(a, b images.Input) int {
	return slices.Compare([]string{a.Source, a.Name, a.Version, a.Digest}, []string{b.Source, b.Name, b.Version, b.Digest})
}

// input returns a package in the words of a manifest.
func (p spdxPackage) input() (images.Input, error) {
	in := images.Input{Name: p.Name}
	for _, c := range p.Checksums {
		if c.Algorithm == sha256Name {
			in.Digest = "sha256:" + c.Value
		}
	}
	for _, r := range p.ExternalRefs {
		if r.Type == typeSum {
			in.Digest = r.Locator
		}
		if r.Type != typePURL {
			continue
		}
		kind, name, version, err := splitPURL(r.Locator)
		if err != nil {
			return images.Input{}, err
		}
		switch kind {
		case "deb":
			in.Source, in.Name, in.Version = SourceDeb, strings.TrimPrefix(name, "debian/"), version
		case "golang":
			in.Source, in.Version = SourceModule, version
		case "generic":
			in.Source, in.Name = SourceDownload, p.DownloadLocation
		case "oci":
			in.Source = SourceImage
		}
	}
	if in.Source == "" && p.PrimaryPurpose == purposeProgram {
		in.Source = SourceFile
	}
	if in.Source == "" || in.Digest == "" {
		return images.Input{}, errors.New("it has no package URL or no digest")
	}
	return in, nil
}

// Values of [images.Input.Source].
const (
	SourceDeb      = "deb"
	SourceModule   = "gomod"
	SourceDownload = "url"
	SourceImage    = "oci"
	SourceFile     = "file"
)
