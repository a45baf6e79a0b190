package images

import (
	"net/url"
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
	DefaultProgramMode      = 0o755
	DefaultContainerUser    = "0:0"
	DefaultSectorSize       = 512
)

// Roles of a Container.
const (
	RoleAll          = "all"
	RoleControlPlane = "controlPlane"
)

// Outputs returns every output.
func Outputs() []Output {
	return []Output{OutputRaw, OutputZstd, OutputPXE, OutputISO, OutputInstaller}
}

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
	if s.Disk.SectorSize == 0 {
		s.Disk.SectorSize = DefaultSectorSize
	}
	if s.Disk.CompressionLevel == 0 {
		s.Disk.CompressionLevel = DefaultCompressionLevel
	}
	if len(s.Outputs) == 0 {
		s.Outputs = Outputs()
	}
	s.Modules = slices.Clone(s.Modules)
	for i := range s.Modules {
		s.Modules[i].Programs = slices.Clone(s.Modules[i].Programs)
		for j, p := range s.Modules[i].Programs {
			s.Modules[i].Programs[j] = p.withDefaults()
		}
	}
	s.Downloads = slices.Clone(s.Downloads)
	for i, d := range s.Downloads {
		s.Downloads[i] = d.withDefaults()
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

func (d Download) withDefaults() Download {
	d.Name = downloadName(d.Name, d.Member, d.URL)
	if d.Mode == 0 && d.Path != "" {
		d.Mode = DefaultProgramMode
	}
	return d
}

// downloadName is the name of a download that has these fields.
func downloadName(name, member, address string) string {
	if name != "" {
		return name
	}
	if member != "" {
		return path.Base(member)
	}
	if u, err := url.Parse(address); err == nil && strings.Trim(u.Path, "/") != "" {
		return path.Base(u.Path)
	}
	return ""
}

func (c Container) withDefaults() Container {
	if c.Role == "" {
		c.Role = RoleAll
	}
	if c.Image != "" || c.Layout != "" {
		return c
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
