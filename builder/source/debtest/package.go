package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
)

// A Package is a Debian package for amd64.
type Package struct {
	Name, Version string
	// Depends is as in the control file, and may be empty.
	Depends string
	// Essential packages are in every root.
	Essential bool
	// Files are the contents of files by their path without a leading slash.
	Files map[string]string
}

// Path is where the package is in an archive.
func (p Package) Path() string {
	return fmt.Sprintf("pool/main/%s/%s_%s_amd64.deb", p.Name, p.Name, p.Version)
}

// control is the text of the control file.
func (p Package) control() string {
	text := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\n", p.Name, p.Version)
	if p.Depends != "" {
		text += "Depends: " + p.Depends + "\n"
	}
	if p.Essential {
		text += "Essential: yes\n"
	}
	return text + "Description: for tests\n"
}

// Deb returns the package, deb(5).
func (p Package) Deb() ([]byte, error) {
	control, err := archive(map[string]string{"./control": p.control()})
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, content := range p.Files {
		files["./"+name] = content
	}
	data, err := archive(files)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name    string
		content []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, 0, 0, 0, 0o100644, len(m.content))
		b.Write(m.content)
		if len(m.content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes(), nil
}

// archive packs files, sorted by name.
func archive(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := t.Write([]byte(files[name])); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
