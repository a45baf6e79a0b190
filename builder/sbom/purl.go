package sbom

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
)

// Package URLs, by the purl specification and its types deb, golang, generic
// and oci.

func debPURL(d source.Deb, suite string) string {
	p := "pkg:deb/debian/" + escape(d.Package) + "@" + escape(d.Version) + "?arch=" + escape(d.Architecture)
	if suite != "" {
		p += "&distro=" + escape(suite)
	}
	return p
}

// goPURL is in lower case, as the type golang has it.
func goPURL(module, version string) string {
	elems := strings.Split(strings.ToLower(module), "/")
	for i, e := range elems {
		elems[i] = escape(e)
	}
	return "pkg:golang/" + strings.Join(elems, "/") + "@" + escape(version)
}

func downloadPURL(d Download) string {
	return "pkg:generic/" + escape(d.Name) + "?checksum=" + escape("sha256:"+d.SHA256) + "&download_url=" + escape(d.URL)
}

// imagePURL takes the repository's name without the registry for the name, as
// the type oci has it.
func imagePURL(repository, digest string) string {
	return "pkg:oci/" + escape(strings.ToLower(path.Base(repository))) + "@" + escape(digest) + "?repository_url=" + escape(repository)
}

// escape escapes all that is not plain in every part of a package URL.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// splitPURL returns the type, the name with its namespace, and the version.
func splitPURL(p string) (kind, name, version string, err error) {
	rest, ok := strings.CutPrefix(p, "pkg:")
	if !ok {
		return "", "", "", fmt.Errorf("%q is not a package URL", p)
	}
	rest, _, _ = strings.Cut(rest, "?")
	kind, rest, _ = strings.Cut(rest, "/")
	rest, version, _ = strings.Cut(rest, "@")
	if name, err = url.PathUnescape(rest); err == nil {
		version, err = url.PathUnescape(version)
	}
	if err != nil {
		return "", "", "", fmt.Errorf("%q is not a package URL: %w", p, err)
	}
	return kind, name, version, nil
}
