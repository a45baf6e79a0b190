package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Deb is a pinned Debian package.
type Deb struct {
	Package      string `json:"package"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	// Path of the file below the archive's root, for instance
	// pool/main/b/bash/bash_5.2.37-2_amd64.deb: the lock names no mirror.
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Archive is a Debian archive as apt sees it.
type Archive struct {
	// Mirror is the archive's root URI.
	Mirror string
	// Suites in order of preference; the first is the base suite.
	Suites     []string
	Components []string
	// Keyring verifies the Release files; empty means the host's own keyring
	// of Debian's archive.
	Keyring string
	// Dir holds apt's lists, private to this archive.
	Dir string
	// Attempts is how often in a row a request may fail; zero is 4.
	Attempts int
	// Env are KEY=value settings of the commands, normally the caller's.
	Env []string
}

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// HostMirror returns the root of the Debian archive that this host's apt is
// configured with.
func HostMirror(ctx context.Context) (string, error) {
	out, err := Run(exec.CommandContext(ctx, "apt-get", "indextargets", "--no-release-info",
		"--format", "$(CREATED_BY) $(REPO_URI)"))
	if err != nil {
		return "", fmt.Errorf("asking apt for the host's mirror: %w", err)
	}
	return pickMirror(string(out))
}

// pickMirror returns the first package-list URI whose path is that of a
// Debian archive: a host has other repositories as well.
func pickMirror(targets string) (string, error) {
	for line := range strings.Lines(targets) {
		kind, uri, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind == "Packages" && strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian") {
			return strings.TrimRight(uri, "/"), nil
		}
	}
	return "", fmt.Errorf("the host's apt sources name no Debian archive: set spec.distribution.mirror in the recipe")
}

// Update fetches and verifies the package lists.
func (a Archive) Update(ctx context.Context) error {
	for _, d := range []string{"lists/partial", "cache/archives/partial", "etc/none"} {
		if err := os.MkdirAll(filepath.Join(a.Dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"status": "", "etc/preferences": "", "etc/sources.list": a.sourcesList(), "apt.conf": a.conf(),
	} {
		if err := os.WriteFile(filepath.Join(a.Dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if _, err := a.apt(ctx, "apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"); err != nil {
		return a.updateError(err)
	}
	return nil
}

// Resolve returns what apt would install for the requests ("name",
// "name/suite" or a pattern such as "?essential") into an empty root, sorted
// by name. Recommended packages are not taken. [Archive.Update] comes first.
func (a Archive) Resolve(ctx context.Context, requests []string) ([]Deb, error) {
	args := append([]string{"-qq", "-y", "--print-uris", "install"}, requests...)
	out, err := a.apt(ctx, "apt-get", args...)
	if err != nil {
		return nil, fmt.Errorf("resolving packages: %w", a.resolveError(err))
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		// 'URI' name_version_arch.deb size hash
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasSuffix(f[1], ".deb") {
			continue
		}
		parts := strings.SplitN(strings.TrimSuffix(f[1], ".deb"), "_", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("resolving packages: unexpected line of apt: %s", line)
		}
		version, err := url.PathUnescape(parts[1])
		if err != nil {
			return nil, fmt.Errorf("resolving packages: unexpected version %q: %w", parts[1], err)
		}
		names = append(names, parts[0]+"="+version)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("resolving packages: apt would install nothing for %s", strings.Join(requests, " "))
	}
	out, err = a.apt(ctx, "apt-cache", append([]string{"show"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("reading package records: %w", err)
	}
	debs, err := ParsePackages(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	if len(debs) != len(names) {
		return nil, fmt.Errorf("resolving packages: apt names %d packages and shows %d", len(names), len(debs))
	}
	return debs, nil
}

// Candidate returns the version of a package that a suite offers.
func (a Archive) Candidate(ctx context.Context, pkg, suite string) (string, error) {
	out, err := a.apt(ctx, "apt-cache", "madison", pkg)
	if err != nil {
		return "", fmt.Errorf("asking for the versions of %s: %w", pkg, err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, "|")
		if len(f) == 3 && strings.Contains(f[2], " "+suite+"/") {
			return strings.TrimSpace(f[1]), nil
		}
	}
	return "", &PackageError{Package: pkg, Suite: suite}
}

// Newer reports whether Debian version a is greater than b.
func Newer(ctx context.Context, a, b string) bool {
	return exec.CommandContext(ctx, "dpkg", "--compare-versions", a, "gt", b).Run() == nil
}

// File is where the archive has a package.
func (a Archive) File(d Deb) File {
	return File{Name: d.Package + "=" + d.Version, URL: a.Mirror + "/" + d.Path, SHA256: d.SHA256, Size: d.Size}
}

// Fetch brings a package into the cache.
func (a Archive) Fetch(ctx context.Context, c Cache, client *http.Client, d Deb) (string, error) {
	return HTTP{Client: client}.Fetch(ctx, c, a.File(d))
}

// Contents returns the files of the package at path, as dpkg would unpack them.
func Contents(ctx context.Context, path string, env []string) (*tar.Reader, error) {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", path)
	cmd.Env = env
	out, err := Run(cmd)
	if err != nil {
		return nil, fmt.Errorf("reading package %q: %w", filepath.Base(path), err)
	}
	return tar.NewReader(bytes.NewReader(out)), nil
}

// ParsePackages reads paragraphs of a package list. A package that is listed
// by several suites with the same content is returned once.
func ParsePackages(r io.Reader) ([]Deb, error) {
	var debs []Deb
	var d Deb
	flush := func() error {
		if d.Package == "" {
			return nil
		}
		if len(d.SHA256) != 64 || d.Path == "" {
			return fmt.Errorf("reading package records: %s has no SHA256 or Filename", d.Package)
		}
		if !slices.ContainsFunc(debs, func(o Deb) bool { return o.SHA256 == d.SHA256 }) {
			debs = append(debs, d)
		}
		d = Deb{}
		return nil
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if line == "" {
			if err := flush(); err != nil {
				return nil, err
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("reading package records: unexpected line %q", line)
		}
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			d.Package = value
		case "Version":
			d.Version = value
		case "Architecture":
			d.Architecture = value
		case "Filename":
			d.Path = value
		case "SHA256":
			d.SHA256 = value
		case "Size":
			if _, err := fmt.Sscan(value, &d.Size); err != nil {
				return nil, fmt.Errorf("reading package records: size %q: %w", value, err)
			}
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading package records: %w", err)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	slices.SortFunc(debs, func(a, b Deb) int { return strings.Compare(a.Package, b.Package) })
	return debs, nil
}

// Paragraph is the record of d in a local archive that keeps the file at path.
// Control are the fields of the package itself, see [Control].
func (d Deb) Paragraph(control, path string) string {
	return fmt.Sprintf("%sFilename: %s\nSize: %d\nSHA256: %s\n", control, path, d.Size, d.SHA256)
}

func (a Archive) sourcesList() string {
	keyring := a.Keyring
	if keyring == "" {
		keyring = debianKeyring
	}
	var b strings.Builder
	for _, s := range a.Suites {
		fmt.Fprintf(&b, "deb [signed-by=%s] %s %s %s\n", keyring, a.Mirror, s, strings.Join(a.Components, " "))
	}
	return b.String()
}

func (a Archive) conf() string {
	retries, more := 3, ""
	if a.Attempts > 0 {
		retries = a.Attempts - 1
	}
	if a.Keyring != "" {
		// The user that apt changes to may not be able to read it, which would
		// look like a missing signature.
		more = "APT::Sandbox::User \"root\";\n"
	}
	return fmt.Sprintf(`Dir::State %[1]q;
Dir::State::status "%[1]s/status";
Dir::State::Lists "%[1]s/lists";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/etc/sources.list";
Dir::Etc::sourceparts "%[1]s/etc/none";
Dir::Etc::preferences "%[1]s/etc/preferences";
Dir::Etc::preferencesparts "%[1]s/etc/none";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "%[2]d";
%[3]s`, a.Dir, retries, more)
}

func (a Archive) apt(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(slices.Clone(a.Env), "APT_CONFIG="+filepath.Join(a.Dir, "apt.conf"), "LC_ALL=C.UTF-8")
	return Run(cmd)
}
