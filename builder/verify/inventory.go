package verify

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/images"
)

// inventory compares the SBOM with the inputs of the manifest.
func (v *verifier) inventory() {
	const artifact = images.SBOMFile
	if !v.exists(artifact) {
		return
	}
	v.now("SBOM", artifact, func() error {
		f, err := os.Open(v.file(artifact))
		if err != nil {
			return err
		}
		defer f.Close()
		d, err := sbom.Read(f)
		if err != nil {
			return err
		}
		v.report.Packages = d.Packages
		if d.Namespace != sbom.Namespace(v.m.Name, v.m.ID) {
			v.add(artifact, bakeAgain, "it is of another image: its namespace is %s", d.Namespace)
		}
		v.compareInputs(artifact, "the manifest", v.m.Inputs, d.Inputs)
		return nil
	})
}

// dpkgStatus lists the packages that are installed.
const dpkgStatus = "/var/lib/dpkg/status"

// packages compares what dpkg says is installed with the inputs: each of them
// is there, in the same version. An image may also go without that list.
func (c rootCheck) packages() {
	status, ok := c.fs.text(dpkgStatus)
	if !ok {
		return
	}
	// Packages that were installed after the recipe's are in the manifest as
	// the files that they changed.
	if _, changed := c.v.changed()[dpkgStatus]; changed {
		return
	}
	for paragraph := range strings.SplitSeq(status, "\n\n") {
		name, version, err := installed(paragraph)
		if err != nil {
			continue
		}
		if !slices.ContainsFunc(c.v.m.Inputs, func(in images.Input) bool {
			return in.Source == sbom.SourceDeb && in.Name == name && in.Version == version
		}) {
			c.add(bakeAgain, "the package %s %s is installed, and the inputs of the manifest do not have it", name, version)
		}
	}
}

var errNotInstalled = errors.New("not installed")

func installed(paragraph string) (name, version string, err error) {
	ok := false
	for line := range strings.Lines(paragraph) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Package":
			name = value
		case "Version":
			version = value
		case "Status":
			ok = strings.HasSuffix(value, " installed")
		}
	}
	if !ok || name == "" {
		return "", "", errNotInstalled
	}
	return name, version, nil
}
