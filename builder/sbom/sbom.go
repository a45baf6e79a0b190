package sbom

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/k8snode/k8snode/builder/source"
)

// Input is all that a bake knows about where the bytes of an image come from.
type Input struct {
	// Name and ID are those of the image.
	Name, ID string
	// Epoch is the time of the document.
	Epoch time.Time
	// Suite of the Debian packages, for instance trixie.
	Suite string
	// Root are the packages that are installed, Boot those of which only
	// single files are taken.
	Root, Boot []source.Deb
	// Modules are the Go modules of the recipe.
	Modules    []Module
	Downloads  []Download
	Containers []Container
	// Provisioned is the number of files that were changed after all of this,
	// by means that no lock covers.
	Provisioned int
	// Files are programs of the machine that bakes: the agent.
	Files []Program
}

// A Module is a Go module of the recipe with what was made of it.
type Module struct {
	Pin      source.Module
	Programs []Program
}

// A Program is one that was compiled. Build is nil for one that is not Go.
type Program struct {
	Name   string
	SHA256 string
	Build  *debug.BuildInfo
}

// A Download is a file from upstream's releases.
type Download struct {
	Name, URL, SHA256 string
}

// A Container is a container image.
type Container struct {
	// Reference is its name on the node.
	Reference string
	// Image is what was pulled, "repository@sha256:…"; empty for an image
	// that the bake made itself.
	Image string
	// Program is the SHA256 of the program in an image that was made, Debs
	// are the packages in it.
	Program string
	Debs    []source.Deb
}

// ReadProgram describes a program that is in a file. The list of its modules
// is read from it; a program that is not Go has none.
func ReadProgram(name, file, sha256 string) (Program, error) {
	p := Program{Name: name, SHA256: sha256}
	info, err := buildinfo.ReadFile(file)
	switch {
	case err == nil:
		p.Build = info
	// The package has no error values for these.
	case strings.HasSuffix(err.Error(), "not a Go executable"), strings.HasSuffix(err.Error(), "unrecognized file format"):
	default:
		return Program{}, fmt.Errorf("reading the modules of program %s: %w", name, err)
	}
	return p, nil
}

// Write writes the document.
func Write(w io.Writer, in Input) error {
	b := build{in: in, packages: map[string]spdxPackage{}, relations: map[relationship]bool{}}
	if err := b.all(); err != nil {
		return fmt.Errorf("writing the SBOM: %w", err)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(b.document()); err != nil {
		return fmt.Errorf("writing the SBOM: %w", err)
	}
	return nil
}

// tool goes without a version: equal inputs give equal bytes, whichever
// release of k8snode put them together. One that would give others changes the
// image's ID.
const tool = "Tool: k8snode"

// build collects packages and relations; either may be met many times.
type build struct {
	in        Input
	image     string
	packages  map[string]spdxPackage
	relations map[relationship]bool
	conflicts []error
}

func (b *build) all() error {
	image := spdxPackage{
		SPDXID: "SPDXRef-image", Name: b.in.Name, VersionInfo: b.in.ID, PrimaryPurpose: purposeSystem,
	}
	if b.in.Provisioned > 0 {
		image.Comment = fmt.Sprintf("%d files were changed by provisioners, which no lock covers: the image's manifest names them", b.in.Provisioned)
	}
	b.image = b.add(image)
	b.relate(documentID, describes, b.image)
	for _, d := range b.in.Root {
		b.relate(b.image, contains, b.deb(d))
	}
	for _, d := range b.in.Boot {
		b.deb(d)
	}
	for _, m := range b.in.Modules {
		b.module(m)
	}
	for _, d := range b.in.Downloads {
		id := b.add(spdxPackage{
			SPDXID: "SPDXRef-download-" + idPart(d.Name) + "-" + short(d.SHA256), Name: d.Name, PrimaryPurpose: purposeFile,
			DownloadLocation: d.URL, Checksums: sum(d.SHA256), ExternalRefs: purl(downloadPURL(d)),
		})
		b.relate(b.image, generatedFrom, id)
	}
	for _, c := range b.in.Containers {
		b.container(c)
	}
	for _, p := range b.in.Files {
		id := b.program(p)
		b.relate(b.image, generatedFrom, id)
		b.dependencies(id, p, "")
	}
	return errors.Join(b.conflicts...)
}

func (b *build) deb(d source.Deb) string {
	id := b.add(spdxPackage{
		SPDXID: "SPDXRef-deb-" + idPart(d.Package) + "-" + short(d.SHA256), Name: d.Package, VersionInfo: d.Version,
		PrimaryPurpose: purposeInstall, Supplier: "Organization: Debian",
		Checksums: sum(d.SHA256), ExternalRefs: purl(debPURL(d, b.in.Suite)),
	})
	b.relate(b.image, generatedFrom, id)
	return id
}

func (b *build) module(m Module) {
	id := b.goModule(m.Pin.Path, m.Pin.Version, m.Pin.Sum)
	b.relate(b.image, generatedFrom, id)
	for _, p := range m.Programs {
		b.relate(b.program(p), generatedFrom, id)
		b.dependencies(id, p, m.Pin.Path)
	}
}

// program adds a program that is in the image, be it in a container.
func (b *build) program(p Program) string {
	id := b.add(spdxPackage{
		SPDXID: programID(p.SHA256), Name: p.Name, PrimaryPurpose: purposeProgram, Checksums: sum(p.SHA256),
	})
	b.relate(b.image, contains, id)
	return id
}

func programID(sha256 string) string { return "SPDXRef-program-" + short(sha256) }

// dependencies adds the modules that are in a program, other than its own.
func (b *build) dependencies(id string, p Program, own string) {
	if p.Build == nil {
		return
	}
	for _, d := range p.Build.Deps {
		if d.Path == own {
			continue
		}
		if d.Replace != nil {
			d = d.Replace
		}
		b.relate(id, dependsOn, b.goModule(d.Path, d.Version, d.Sum))
	}
	// Scanners know the standard library by this name.
	b.relate(id, dependsOn, b.goModule("stdlib", strings.Fields(p.Build.GoVersion)[0], ""))
}

func (b *build) goModule(path, version, h1 string) string {
	refs := purl(goPURL(path, version))
	if h1 != "" {
		refs = append(refs, externalRef{categoryOwn, typeSum, h1, commentSum})
	}
	return b.add(spdxPackage{
		SPDXID: "SPDXRef-go-" + idPart(path) + "-" + idPart(version) + "-" + short(source.SumBytes([]byte(path+"@"+version))),
		Name:   path, VersionInfo: version, PrimaryPurpose: purposeSource, ExternalRefs: refs,
	})
}

func (b *build) container(c Container) {
	p := spdxPackage{
		SPDXID: "SPDXRef-container-" + idPart(c.Reference) + "-" + short(source.SumBytes([]byte(c.Reference))),
		Name:   c.Reference, PrimaryPurpose: purposeContainer,
	}
	if repository, digest, ok := strings.Cut(c.Image, "@"); ok {
		p.VersionInfo, p.Checksums, p.ExternalRefs = digest, sum(strings.TrimPrefix(digest, "sha256:")), purl(imagePURL(repository, digest))
	}
	id := b.add(p)
	b.relate(b.image, contains, id)
	if c.Image != "" {
		b.relate(b.image, generatedFrom, id)
	}
	if c.Program != "" {
		b.relate(id, contains, programID(c.Program))
	}
	for _, d := range c.Debs {
		b.relate(id, contains, b.deb(d))
	}
}

// add adds a package with what is the same for all, and returns its ID.
func (b *build) add(p spdxPackage) string {
	for _, field := range []*string{&p.Supplier, &p.DownloadLocation, &p.LicenseConcluded, &p.LicenseDeclared, &p.CopyrightText} {
		if *field == "" {
			*field = noAssertion
		}
	}
	if have, ok := b.packages[p.SPDXID]; ok && have.Name == p.Name {
		// A module may be met with its hash and without.
		if len(have.ExternalRefs) >= len(p.ExternalRefs) {
			return p.SPDXID
		}
	} else if ok && p.PrimaryPurpose != purposeProgram {
		b.conflicts = append(b.conflicts, fmt.Errorf("%s and %s have one identifier", have.Name, p.Name))
	} else if ok && have.Name < p.Name {
		return p.SPDXID // one program, installed under two names
	}
	b.packages[p.SPDXID] = p
	return p.SPDXID
}

func (b *build) relate(element, kind, related string) {
	b.relations[relationship{element, kind, related}] = true
}

func (b *build) document() document {
	d := document{
		SPDXVersion: spdxVersion, DataLicense: dataLicense, SPDXID: documentID,
		Name: b.in.Name + "-" + short(b.in.ID), DocumentNamespace: Namespace(b.in.Name, b.in.ID),
		CreationInfo: creationInfo{b.in.Epoch.UTC().Format(time.RFC3339), []string{tool}},
	}
	for _, p := range b.packages {
		d.Packages = append(d.Packages, p)
	}
	slices.SortFunc(d.Packages, func(x, y spdxPackage) int { return strings.Compare(x.SPDXID, y.SPDXID) })
	for r := range b.relations {
		d.Relationships = append(d.Relationships, r)
	}
	slices.SortFunc(d.Relationships, func(x, y relationship) int {
		if c := strings.Compare(x.Element, y.Element); c != 0 {
			return c
		}
		if c := strings.Compare(x.Type, y.Type); c != 0 {
			return c
		}
		return strings.Compare(x.Related, y.Related)
	})
	return d
}

// Namespace is the URI of the document of an image.
func Namespace(name, id string) string {
	u := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://k8snode.io/image/"+id))
	return "https://k8snode.io/spdx/" + escape(name) + "-" + u.String()
}

func sum(sha256 string) []checksum { return []checksum{{sha256Name, sha256}} }

func purl(p string) []externalRef { return []externalRef{{categoryPURL, typePURL, p, ""}} }

// idPart keeps the characters that an identifier may have.
func idPart(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		}
		return '-'
	}, s)
}

// short is enough of a digest to tell files of one image apart.
func short(digest string) string { return digest[:min(16, len(digest))] }
