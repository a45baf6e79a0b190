package images

import (
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/k8snode/k8snode/internal/report"
)

var (
	programPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	tagPattern     = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
	// An assignment of the linker's -X; blanks and quotes would end it.
	ldflagPattern = regexp.MustCompile(`^[A-Za-z0-9_./~-]+\.[A-Za-z_][A-Za-z0-9_]*=[^\s"']*$`)
)

// modules checks the modules and returns the names of their programs.
func (c *checker) modules(modules []Module) (programs seen) {
	programs = seen{}
	for i, m := range modules {
		path := report.Path("spec.modules").Index(i)
		c.moduleVersion(path, m)
		for j, tag := range m.Tags {
			c.match(path.Field("tags").Index(j), tag, tagPattern, "a build tag")
		}
		for j, flag := range m.LDFlags {
			if !ldflagPattern.MatchString(flag) {
				c.add(path.Field("ldflags").Index(j), fmt.Sprintf("%q is not an assignment", flag),
					"write import/path.name=value, without -X, blanks or quotes")
			}
		}
		if len(m.Programs) == 0 {
			c.add(path.Field("programs"), "missing", "list the programs that the image takes from the module")
		}
		for j, p := range m.Programs {
			c.program(path.Field("programs").Index(j), m, p, programs)
		}
	}
	return programs
}

func (c *checker) moduleVersion(path report.Path, m Module) {
	validPath := false
	if c.required(path.Field("module"), m.Module, "") {
		err := module.CheckPath(m.Module)
		if validPath = err == nil; !validPath {
			c.add(path.Field("module"), fmt.Sprintf("%q is not a module path", m.Module), "")
		}
	}
	if c.exactVersion(path.Field("version"), m.Version) && validPath {
		_, major, _ := module.SplitPathVersion(m.Module)
		if err := module.CheckPathMajor(m.Version, major); err != nil {
			c.add(path.Field("version"), fmt.Sprintf("%s does not belong to module path %s", m.Version, m.Module),
				"a module of major version 2 or more ends in /v2 and so on, or its version in +incompatible")
		}
	}
	if m.LocalReplaceVersion != "" {
		c.exactVersion(path.Field("localReplaceVersion"), m.LocalReplaceVersion)
	}
}

func (c *checker) exactVersion(path report.Path, version string) bool {
	if !c.required(path, version, "write an exact version, for instance v1.2.3") {
		return false
	}
	if semver.Canonical(version)+semver.Build(version) != version || (semver.Build(version) != "" && semver.Build(version) != "+incompatible") {
		c.add(path, fmt.Sprintf("%q is not an exact version", version), "write all of it, for instance v1.2.3")
		return false
	}
	return true
}

func (c *checker) program(path report.Path, m Module, p Program, programs seen) {
	switch {
	case p.Package == "" && p.CSource == "":
		c.add(path, "has neither package nor cSource", "name the main package")
	case p.Package != "" && p.CSource != "":
		c.add(path.Field("cSource"), "package is set as well", "make two programs of it")
	case p.CSource != "":
		if c.inside(path.Field("cSource"), p.CSource, "the module") && !strings.HasSuffix(p.CSource, ".c") {
			c.add(path.Field("cSource"), fmt.Sprintf("%q is not a C file", p.CSource), "")
		}
	case module.CheckImportPath(p.Package) != nil:
		c.add(path.Field("package"), fmt.Sprintf("%q is not an import path", p.Package), "")
	case p.Package != m.Module && !strings.HasPrefix(p.Package, m.Module+"/"):
		c.add(path.Field("package"), fmt.Sprintf("%s is not in module %s", p.Package, m.Module), "")
	}
	if p.Name != "" && c.match(path.Field("name"), p.Name, programPattern, "the name of a program") {
		c.unique(programs, path.Field("name"), p.Name)
	}
	if p.Path != "" {
		c.absolute(path.Field("path"), p.Path)
	}
}
