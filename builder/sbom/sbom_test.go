package sbom_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/golden"
)

const id = "1e5b357fad255cc5a4906e3dbb606d0958a305e26232d1f7899e646a99229de9"

func sum(s string) string { return source.SumBytes([]byte(s)) }

func deb(name, version string) source.Deb {
	return source.Deb{Package: name, Version: version, Architecture: "amd64", SHA256: sum(name + version)}
}

func input() sbom.Input {
	build := &debug.BuildInfo{
		GoVersion: "go1.26.1 X:someexperiment",
		Main:      debug.Module{Path: "k8snode.io/wrapper", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.org/Prog/v2", Version: "v2.3.4", Sum: "h1:main="},
			{Path: "example.org/dep", Version: "v1.0.0+incompatible", Sum: "h1:dep="},
			{Path: "example.org/old", Version: "v0.0.1", Replace: &debug.Module{Path: "example.org/new", Version: "v0.0.2", Sum: "h1:new="}},
		},
	}
	return sbom.Input{
		Name: "node", ID: id, Suite: "trixie",
		Epoch: time.Date(2026, time.November, 1, 1, 0, 0, 0, time.FixedZone("", 3600)),
		Root:  []source.Deb{deb("bash", "5.2.37-2+b10"), deb("libstdc++6", "1:14~rc1")},
		Boot:  []source.Deb{deb("ipxe", "1.21")},
		Modules: []sbom.Module{
			{Pin: source.Module{Path: "example.org/Prog/v2", Version: "v2.3.4", Sum: "h1:main="}, Programs: []sbom.Program{
				{Name: "prog", SHA256: sum("prog"), Build: build},
				{Name: "pause", SHA256: sum("pause")},
			}},
		},
		Downloads: []sbom.Download{{Name: "crictl", URL: "https://example.org/crictl?a=b", SHA256: sum("crictl")}},
		Containers: []sbom.Container{
			{Reference: "example.org/pause:1", Program: sum("pause"), Debs: []source.Deb{deb("bash", "5.2.37-2+b10"), deb("nftables", "1.1")}},
			{Reference: "example.org/proxy:1", Image: "example.org/kube/Proxy@sha256:" + sum("proxy")},
		},
		Files: []sbom.Program{{Name: "k8snode-agent", SHA256: sum("agent"), Build: build}},
	}
}

func write(t *testing.T, in sbom.Input) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sbom.Write(&b, in); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWrite(t *testing.T) {
	b := write(t, input())
	golden.Check(t, filepath.Join("testdata", "sbom.spdx.json"), b)

	// Another order of everything makes no other document.
	in := input()
	slices.Reverse(in.Root)
	slices.Reverse(in.Containers)
	slices.Reverse(in.Containers[1].Debs)
	slices.Reverse(in.Modules[0].Programs)
	slices.Reverse(in.Files[0].Build.Deps)
	in.Epoch = in.Epoch.UTC()
	if again := write(t, in); !bytes.Equal(b, again) {
		t.Errorf("in another order, the document differs:\n%s", cmp.Diff(string(b), string(again)))
	}
}

// TestSPDX reads the document with the SPDX project's own library.
func TestSPDX(t *testing.T) {
	d, err := spdxjson.Read(bytes.NewReader(write(t, input())))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(d); err != nil {
		t.Error(err)
	}
	if d.SPDXVersion != "SPDX-2.3" || d.DataLicense != "CC0-1.0" || d.CreationInfo.Created != "2026-11-01T00:00:00Z" {
		t.Errorf("the document is %s, %s, of %s", d.SPDXVersion, d.DataLicense, d.CreationInfo.Created)
	}
	image, err := spdxlib.GetDescribedPackageIDs(d)
	if err != nil || len(image) != 1 || image[0] != "image" {
		t.Errorf("it describes %v, %v", image, err)
	}
	names := map[string]bool{}
	for _, p := range d.Packages {
		names[p.PackageName+" "+p.PackageVersion] = true
		if p.PackageDownloadLocation == "" || p.PackageLicenseConcluded == "" || p.FilesAnalyzed {
			t.Errorf("package %s lacks a field", p.PackageName)
		}
	}
	for _, want := range []string{"bash 5.2.37-2+b10", "example.org/new v0.0.2", "stdlib go1.26.1", "prog ", "example.org/pause:1 "} {
		if !names[want] {
			t.Errorf("there is no package %q", want)
		}
	}
	if names["example.org/old v0.0.1"] {
		t.Error("a module that was replaced is there")
	}
}

// TestIdentifiers checks what the schema of SPDX 2.3 says of identifiers, and
// the rules of package URLs.
func TestIdentifiers(t *testing.T) {
	var d struct {
		Packages []struct {
			SPDXID       string
			ExternalRefs []struct{ ReferenceCategory, ReferenceType, ReferenceLocator string }
		}
		Relationships []struct{ SpdxElementID, RelatedSpdxElement string }
	}
	if err := json.Unmarshal(write(t, input()), &d); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	valid := regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`)
	var purls []string
	for _, p := range d.Packages {
		if !valid.MatchString(p.SPDXID) || ids[p.SPDXID] {
			t.Errorf("identifier %q is not valid, or there twice", p.SPDXID)
		}
		ids[p.SPDXID] = true
		for _, r := range p.ExternalRefs {
			if strings.ContainsAny(r.ReferenceLocator, " \t") {
				t.Errorf("reference %q has a space", r.ReferenceLocator)
			}
			if r.ReferenceType == "purl" && r.ReferenceCategory == "PACKAGE-MANAGER" {
				purls = append(purls, r.ReferenceLocator)
			}
		}
	}
	for _, r := range d.Relationships {
		if !ids[r.SpdxElementID] || !ids[r.RelatedSpdxElement] {
			t.Errorf("relationship of %s and %s, which are not both there", r.SpdxElementID, r.RelatedSpdxElement)
		}
	}
	slices.Sort(purls)
	want := []string{
		"pkg:deb/debian/bash@5.2.37-2%2Bb10?arch=amd64&distro=trixie",
		"pkg:deb/debian/ipxe@1.21?arch=amd64&distro=trixie",
		"pkg:deb/debian/libstdc%2B%2B6@1%3A14~rc1?arch=amd64&distro=trixie",
		"pkg:deb/debian/nftables@1.1?arch=amd64&distro=trixie",
		"pkg:generic/crictl?checksum=sha256%3A" + sum("crictl") + "&download_url=https%3A%2F%2Fexample.org%2Fcrictl%3Fa%3Db",
		"pkg:golang/example.org/dep@v1.0.0%2Bincompatible",
		"pkg:golang/example.org/new@v0.0.2",
		"pkg:golang/example.org/prog/v2@v2.3.4",
		"pkg:golang/stdlib@go1.26.1",
		"pkg:oci/proxy@sha256%3A" + sum("proxy") + "?repository_url=example.org%2Fkube%2FProxy",
	}
	if diff := cmp.Diff(want, purls); diff != "" {
		t.Errorf("package URLs (-want +got):\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	d, err := sbom.Read(bytes.NewReader(write(t, input())))
	if err != nil {
		t.Fatal(err)
	}
	want := sbom.Document{
		Namespace: sbom.Namespace("node", id), Packages: 15,
		Inputs: []images.Input{
			{Source: "deb", Name: "bash", Version: "5.2.37-2+b10", Digest: "sha256:" + sum("bash5.2.37-2+b10")},
			{Source: "deb", Name: "ipxe", Version: "1.21", Digest: "sha256:" + sum("ipxe1.21")},
			{Source: "deb", Name: "libstdc++6", Version: "1:14~rc1", Digest: "sha256:" + sum("libstdc++61:14~rc1")},
			{Source: "deb", Name: "nftables", Version: "1.1", Digest: "sha256:" + sum("nftables1.1")},
			{Source: "file", Name: "k8snode-agent", Digest: "sha256:" + sum("agent")},
			{Source: "gomod", Name: "example.org/Prog/v2", Version: "v2.3.4", Digest: "h1:main="},
			{Source: "oci", Name: "example.org/proxy:1", Digest: "sha256:" + sum("proxy")},
			{Source: "url", Name: "https://example.org/crictl?a=b", Digest: "sha256:" + sum("crictl")},
		},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	const head = `{"spdxVersion":"SPDX-2.3","relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"i"},
		{"spdxElementId":"i","relationshipType":"GENERATED_FROM","relatedSpdxElement":"p"}],"packages":[`
	for _, tc := range []struct{ name, in, err string }{
		{"no JSON", "spdx", "reading the SBOM: invalid character 's' looking for beginning of value"},
		{"another version", `{"spdxVersion":"SPDX-3.0"}`, `reading the SBOM: it is "SPDX-3.0", not SPDX-2.3`},
		{"a package that is not there", head + `]}`, "reading the SBOM: there is no p"},
		{"no digest", head + `{"SPDXID":"p","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/debian/a@1"}]}]}`, "reading the SBOM: p: it has no package URL or no digest"},
		{"no package URL", head + `{"SPDXID":"p","externalRefs":[{"referenceType":"purl","referenceLocator":"deb"}]}]}`, `reading the SBOM: p: "deb" is not a package URL`},
		{"a broken package URL", head + `{"SPDXID":"p","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/%zz"}]}]}`, `reading the SBOM: p: "pkg:deb/%zz" is not a package URL: invalid URL escape "%zz"`},
	} {
		if _, err := sbom.Read(strings.NewReader(tc.in)); err == nil || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}

// TestReadProgram reads the test's own program.
func TestReadProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := sbom.ReadProgram("self", self, sum("self"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "self" || p.SHA256 != sum("self") || p.Build == nil || p.Build.GoVersion != runtime.Version() {
		t.Errorf("the program is %+v", p)
	}
	other := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(other, []byte("#!/bin/sh\n"+strings.Repeat("#", 1000)), 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err = sbom.ReadProgram("script", other, sum("script")); err != nil || p.Build != nil {
		t.Errorf("a script is %+v, %v", p, err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = sbom.ReadProgram("sh", shell, sum("sh")); err != nil || p.Build != nil {
		t.Errorf("a program in C is %+v, %v", p, err)
	}
	if _, err := sbom.ReadProgram("gone", other+"x", ""); err == nil || err.Error() != "reading the modules of program gone: could not read Go build info: open "+other+"x: no such file or directory" {
		t.Errorf("a program that is not there: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := sbom.Write(&b, input()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(_ *testing.T, in []byte) { _, _ = sbom.Read(bytes.NewReader(in)) })
}
