package images

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// The parts of an image reference, as the registries' distribution
// specification has them.
const (
	registryForm   = `[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?`
	repositoryForm = `(/[a-z0-9]+([._-]+[a-z0-9]+)*)`
	tagForm        = `:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
)

var (
	referencePattern = regexp.MustCompile(`^` + registryForm + repositoryForm + `+` + tagForm + `$`)
	pinnedPattern    = regexp.MustCompile(`^` + registryForm + repositoryForm + `+(` + tagForm + `)?@sha256:[0-9a-f]{64}$`)
	registryPattern  = regexp.MustCompile(`^` + registryForm + repositoryForm + `*$`)
	ownerPattern     = regexp.MustCompile(`^(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,8})$`)
)

func (c *checker) containers(containers []Container, programs seen) {
	references := seen{}
	for i, container := range containers {
		path := report.Path("spec.containers").Index(i)
		at := path.Field("reference")
		if c.reference(at, container.Reference, referencePattern, "write registry/name:tag, as kubeadm config images list prints it") {
			if strings.HasSuffix(container.Reference, ":latest") {
				c.add(at, "the kubelet pulls images with the tag latest, whatever the node has", "use the tag of a version")
			} else {
				c.unique(references, at, container.Reference)
			}
		}
		if container.Role != RoleAll && container.Role != RoleControlPlane {
			c.add(path.Field("role"), fmt.Sprintf("unknown role %q", container.Role), "use all or controlPlane")
		}
		c.origin(path, container, programs)
	}
}

func (c *checker) reference(at report.Path, value string, pattern *regexp.Regexp, form string) bool {
	if !c.required(at, value, "") {
		return false
	}
	if !pattern.MatchString(value) {
		c.add(at, fmt.Sprintf("%q is not a full image reference", value), form)
		return false
	}
	return true
}

// origin checks where a container image is from.
func (c *checker) origin(path report.Path, container Container, programs seen) {
	set := 0
	for _, value := range []string{container.Program, container.Image, container.Layout} {
		if value != "" {
			set++
		}
	}
	if set != 1 {
		message := "has none of program, image and layout"
		if set > 1 {
			message = "has more than one of program, image and layout"
		}
		c.add(path, message, "set exactly one")
	}
	if container.Program != "" {
		c.built(path, container, programs)
		return
	}
	if container.Image != "" && !pinnedPattern.MatchString(container.Image) {
		at := path.Field("image")
		if c.reference(at, container.Image, referencePattern, "write registry/name:tag or registry/name@sha256:DIGEST") &&
			strings.HasSuffix(container.Image, ":latest") {
			c.add(at, "the tag latest is another image tomorrow", "use the tag of a version, or a digest")
		}
	}
	if container.Layout != "" {
		c.source(path.Field("layout"), container.Layout)
	}
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"path", container.Path != ""},
		{"entrypoint", len(container.Entrypoint) > 0},
		{"user", container.User != ""},
		{"packages", len(container.Packages) > 0},
		{"links", len(container.Links) > 0},
	} {
		// Without any origin, this may be a program's.
		if field.set && set == 1 {
			c.add(path.Field(field.name), "only an image that is built from a program has this", "remove it")
		}
	}
}

// built checks an image that is built from a program.
func (c *checker) built(path report.Path, container Container, programs seen) {
	if _, ok := programs[container.Program]; !ok {
		c.add(path.Field("program"), fmt.Sprintf("there is no program %q", container.Program),
			"name a program of spec.modules or a file of spec.downloads")
	}
	c.absolute(path.Field("path"), container.Path)
	for j, word := range container.Entrypoint {
		if word == "" {
			c.add(path.Field("entrypoint").Index(j), "an empty word", "")
		}
	}
	if container.User != "" && !ownerPattern.MatchString(container.User) {
		c.add(path.Field("user"), fmt.Sprintf("%q is not uid:gid", container.User), "write two numbers, for instance 65534:65534")
	}
	c.packages(path.Field("packages"), container.Packages)
	for _, link := range slices.Sorted(maps.Keys(container.Links)) {
		at := path.Field("links").Field(link)
		c.absolute(at, link)
		c.required(at, container.Links[link], "write what the link points to")
		if link == container.Path {
			c.add(at, "the program itself is at this path", "")
		}
	}
}
