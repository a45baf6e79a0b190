package images

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Values of fields that a recipe leaves out.
const (
	DefaultComponent        = "main"
	DefaultESPMiB           = 512
	DefaultCompressionLevel = 9
	DefaultFileMode         = 0o644
	DefaultDirectoryMode    = 0o755
	DefaultContainerUser    = "0:0"
)

// Roles of a Container.
const (
	RoleAll          = "all"
	RoleControlPlane = "controlPlane"
)

// Default returns the recipe with the fields that it leaves out filled in. The
// receiver is not changed.
func (r Recipe) Default() Recipe {
	s := &r.Spec
	// One instant has one form, so that it has one digest.
	s.Epoch = s.Epoch.UTC()
	if len(s.Distribution.Components) == 0 {
		s.Distribution.Components = []string{DefaultComponent}
	}
	if s.Disk.ESPMiB == 0 {
		s.Disk.ESPMiB = DefaultESPMiB
	}
	if s.Disk.CompressionLevel == 0 {
		s.Disk.CompressionLevel = DefaultCompressionLevel
	}
	s.Modules = slices.Clone(s.Modules)
	for i := range s.Modules {
		s.Modules[i].Programs = slices.Clone(s.Modules[i].Programs)
		for j, p := range s.Modules[i].Programs {
			s.Modules[i].Programs[j] = p.withDefaults()
		}
	}
	s.Containers = slices.Clone(s.Containers)
	for i, c := range s.Containers {
		s.Containers[i] = c.withDefaults()
	}
	s.Files = slices.Clone(s.Files)
	for i, f := range s.Files {
		s.Files[i] = f.withDefaults()
	}
	return r
}

var majorVersion = regexp.MustCompile(`^v[2-9][0-9]*$|^v1[0-9]+$`)

// withDefaults names a program as "go build" does: by the last element of its
// package that is not a major version.
func (p Program) withDefaults() Program {
	if p.Name != "" {
		return p
	}
	switch {
	case p.Package != "":
		p.Name = path.Base(p.Package)
		if parent := path.Dir(p.Package); majorVersion.MatchString(p.Name) && parent != "." {
			p.Name = path.Base(parent)
		}
	case p.CSource != "":
		p.Name = strings.TrimSuffix(path.Base(p.CSource), ".c")
	}
	return p
}

func (c Container) withDefaults() Container {
	if c.Role == "" {
		c.Role = RoleAll
	}
	if len(c.Entrypoint) == 0 && c.Path != "" {
		c.Entrypoint = []string{c.Path}
	}
	if c.User == "" {
		c.User = DefaultContainerUser
	}
	return c
}

func (f File) withDefaults() File {
	switch {
	case f.Mode != 0 || f.Symlink != "":
	case f.Directory:
		f.Mode = DefaultDirectoryMode
	default:
		f.Mode = DefaultFileMode
	}
	return f
}
