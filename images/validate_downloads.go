package images

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// downloads checks the downloads and adds their names to those of programs.
func (c *checker) downloads(downloads []Download, programs seen) {
	for i, d := range downloads {
		path := report.Path("spec.downloads").Index(i)
		if c.match(path.Field("name"), d.Name, programPattern, "the name of a file") {
			c.unique(programs, path.Field("name"), d.Name)
		}
		if c.required(path.Field("url"), d.URL, "") {
			c.address(path.Field("url"), d.URL)
		}
		c.digest(path, d)
		if d.Member != "" {
			c.inside(path.Field("member"), d.Member, "the archive")
		}
		switch {
		case d.Path != "":
			c.absolute(path.Field("path"), d.Path)
			c.mode(path.Field("mode"), d.Mode)
		case d.Mode != 0:
			c.add(path.Field("mode"), "a file without a path in the root has no mode", "remove it, or set path")
		}
	}
}

// digest checks that a download says by what its bytes are known.
func (c *checker) digest(path report.Path, d Download) {
	at := path.Field("sha256")
	switch {
	case d.SHA256 == "" && d.SHA256URL == "":
		c.add(path, "has neither sha256 nor sha256URL", "give the digest, or where upstream publishes it")
	case d.SHA256 != "" && d.SHA256URL != "":
		c.add(path.Field("sha256URL"), "sha256 is set as well", "remove one of them")
	case d.SHA256URL != "":
		c.address(path.Field("sha256URL"), d.SHA256URL)
	case !digestPattern.MatchString(d.SHA256):
		remedy := "write 64 hexadecimal digits, as sha256sum prints them"
		if bare := strings.ToLower(strings.TrimPrefix(d.SHA256, "sha256:")); digestPattern.MatchString(bare) {
			remedy = "write " + bare
		}
		c.add(at, fmt.Sprintf("%q is not a SHA-256 digest", d.SHA256), remedy)
	}
}

// address checks a URL that is fetched.
func (c *checker) address(at report.Path, address string) bool {
	u, err := url.Parse(address)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		c.add(at, fmt.Sprintf("%q is not a URL", address), "write an http or https URL")
	case u.User != nil:
		c.add(at, "the URL holds a password, which would go into every lock", "remove it")
	case u.Fragment != "":
		c.add(at, "a fragment is never sent", "remove it from the # on")
	default:
		return true
	}
	return false
}

func (c *checker) mirrors(mirrors map[string]string) {
	for _, from := range slices.Sorted(maps.Keys(mirrors)) {
		at := report.Path("spec.mirrors").Field(from)
		to := mirrors[from]
		if !c.required(at, to, "write what is asked instead") {
			continue
		}
		if strings.Contains(from, "://") {
			if c.address(at, from) {
				c.address(at, to)
			}
			continue
		}
		bare := strings.TrimPrefix(strings.TrimPrefix(to, "http://"), "https://")
		switch {
		case !registryPattern.MatchString(from):
			c.add(at, fmt.Sprintf("%q is neither a URL nor a registry", from), "write https://HOST/PATH for downloads, HOST/PATH for images")
		case !registryPattern.MatchString(bare):
			c.add(at, fmt.Sprintf("%q is not a registry", to), "write HOST/PATH, with http:// before it if it does not speak https")
		}
	}
}
