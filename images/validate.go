package images

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/internal/report"
)

// Validate returns all that is wrong with the recipe, with the path of each
// field. The recipe must have its defaults.
func (r Recipe) Validate() report.Problems {
	c := checker{}
	c.name("metadata.name", r.Metadata.Name)
	c.epoch(r.Spec.Epoch)
	c.distribution(r.Spec.Distribution)
	c.kernel(r.Spec.Kernel)
	c.packages("spec.packages", r.Spec.Packages)
	c.mirrors(r.Spec.Mirrors)
	programs := c.modules(r.Spec.Modules)
	c.downloads(r.Spec.Downloads, programs)
	c.containers(r.Spec.Containers, programs)
	c.sysctls(r.Spec.Sysctls, r.Spec.KernelModules)
	c.kernelModules(r.Spec.KernelModules)
	c.journald(r.Spec.Journald)
	c.units(r.Spec.Units)
	c.files(r.Spec)
	c.users(r.Spec.Users)
	c.imageKeys(r.Spec.ImageKeys)
	c.disk(r.Spec.Disk)
	c.outputs(r.Spec.Outputs)
	return c.problems
}

// checker collects problems. Its methods check one part of a recipe each.
type checker struct {
	problems report.Problems
}

func (c *checker) add(path report.Path, message, remedy string) {
	c.problems.Add(path, message, remedy)
}

// required reports whether value is set, and a problem if it is not.
func (c *checker) required(path report.Path, value, remedy string) bool {
	if value == "" {
		c.add(path, "missing", remedy)
	}
	return value != ""
}

// match checks the form of a required value; form says in words what the
// pattern wants.
func (c *checker) match(path report.Path, value string, pattern *regexp.Regexp, form string) bool {
	if !c.required(path, value, "") {
		return false
	}
	if !pattern.MatchString(value) {
		c.add(path, fmt.Sprintf("%q is not %s", value, form), "")
		return false
	}
	return true
}

// seen finds values that must not occur twice.
type seen map[string]report.Path

// unique records value, and a problem if it is not the first.
func (c *checker) unique(seen seen, path report.Path, value string) {
	if first, ok := seen[value]; ok {
		c.add(path, fmt.Sprintf("%q is already at %s", value, first), "remove one of them")
		return
	}
	seen[value] = path
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c *checker) name(path report.Path, name string) {
	if !c.required(path, name, "") || label.MatchString(name) {
		return
	}
	remedy := "use at most 63 lower-case letters, digits and hyphens, no hyphen at an end"
	if strings.Contains(name, "_") {
		remedy = "write hyphens in place of underscores"
	}
	c.add(path, fmt.Sprintf("%q is not an RFC 1123 label", name), remedy)
}

// fatEpoch is the first time that a FAT directory entry can hold.
var fatEpoch = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

func (c *checker) epoch(epoch time.Time) {
	const path report.Path = "spec.epoch"
	switch {
	case epoch.IsZero():
		c.add(path, "missing", "give the time that every file of the image gets, for instance 2026-01-31T12:00:00Z")
	case epoch.Before(fatEpoch):
		c.add(path, "the EFI system partition cannot hold a time before 1980", "")
	case epoch.Unix() > 1<<32-1:
		c.add(path, "a squashfs cannot hold a time after 2106-02-07", "")
	case epoch.Nanosecond() != 0:
		c.add(path, "wanted whole seconds", "")
	}
}

var (
	suitePattern     = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
	componentPattern = regexp.MustCompile(`^[a-z][a-z0-9.-]*(/[a-z0-9.-]+)?$`)
	// Debian policy 5.6.1.
	packagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
)

func (c *checker) distribution(d Distribution) {
	const path report.Path = "spec.distribution"
	c.match(path.Field("suite"), d.Suite, suitePattern, "the name of a suite")
	components := seen{}
	for i, component := range d.Components {
		at := path.Field("components").Index(i)
		if c.match(at, component, componentPattern, "the name of a component") {
			c.unique(components, at, component)
		}
	}
	if d.Mirror == "" {
		return
	}
	at := path.Field("mirror")
	u, err := url.Parse(d.Mirror)
	switch {
	case err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) || (u.Scheme != "file") == (u.Host == ""):
		c.add(at, fmt.Sprintf("%q is not the URI of an archive", d.Mirror), "write an http, https or file URI")
	case u.User != nil:
		c.add(at, "the URI holds a password, which would go into every lock", "let apt's auth.conf hold it")
	}
}

func (c *checker) kernel(k Kernel) {
	const path report.Path = "spec.kernel"
	c.match(path.Field("package"), k.Package, packagePattern, "the name of a Debian package")
	c.match(path.Field("suite"), k.Suite, suitePattern, "the name of a suite")
	arguments := seen{}
	for i, argument := range k.Arguments {
		at := path.Field("arguments").Index(i)
		c.kernelArgument(at, argument)
		c.unique(arguments, at, argument)
	}
}

// ownArguments are arguments that the builder sets itself.
var ownArguments = []string{
	"root", "rootflags", "rootfstype", "roothash", "ro", "rw", "rd.systemd.gpt_auto", "systemd.gpt_auto",
	"ignition.platform.id", "ignition.firstboot", ArgRoot, ArgVerity, ArgState, ArgDisk,
}

func (c *checker) kernelArgument(path report.Path, argument string) {
	name, _, _ := strings.Cut(argument, "=")
	switch {
	case argument == "" || strings.ContainsAny(argument, " \t\n"):
		c.add(path, fmt.Sprintf("%q is not one kernel argument", argument), "write one argument per element")
	case slices.Contains(ownArguments, name):
		c.add(path, fmt.Sprintf("%s is set by k8snode", name), "remove it")
	case argument == "systemd.unified_cgroup_hierarchy=0":
		c.add(path, "the kubelet refuses cgroup v1 since Kubernetes 1.35", "remove it")
	}
}

// packages checks a list of "name" or "name/suite".
func (c *checker) packages(path report.Path, packages []string) {
	names := seen{}
	for i, p := range packages {
		at := path.Index(i)
		name, suite, hasSuite := strings.Cut(p, "/")
		if !packagePattern.MatchString(name) || (hasSuite && !suitePattern.MatchString(suite)) {
			remedy := "write name or name/suite"
			switch {
			case strings.Contains(p, "="):
				remedy = "the lock pins versions; write name or name/suite"
			case strings.HasPrefix(p, "-"):
				remedy = "a hyphen removes a package of the recipe that this one extends"
			}
			c.add(at, fmt.Sprintf("%q is not the name of a Debian package", p), remedy)
			continue
		}
		c.unique(names, at, name)
	}
}

func (c *checker) users(users []User) {
	names, ids := seen{}, seen{}
	for i, u := range users {
		path := report.Path("spec.users").Index(i)
		if c.match(path.Field("name"), u.Name, userPattern, "a user name") {
			c.unique(names, path.Field("name"), u.Name)
		}
		if !isSystemUID(u.UID) {
			c.add(path.Field("uid"), fmt.Sprintf("%d is not the ID of a system user", u.UID), "use 1 to 999, or 60001 to 65533")
		} else {
			c.unique(ids, path.Field("uid"), fmt.Sprint(u.UID))
		}
		if u.Home != "" {
			c.absolute(path.Field("home"), u.Home)
		}
	}
}

func (c *checker) imageKeys(keys []string) {
	seen := seen{}
	for i, key := range keys {
		at := report.Path("spec.imageKeys").Index(i)
		if _, err := signature.ParseKey(key); err != nil {
			c.add(at, "it is "+err.Error(), "write the second line of the public key's file, which \"k8snode keygen\" or \"minisign -G\" made")
			continue
		}
		c.unique(seen, at, key)
	}
}

// isSystemUID reports whether an ID is neither root's nor one of people (1000
// to 60000, Debian policy 9.2.2) nor nobody's or the one that means "none".
func isSystemUID(uid int) bool {
	return (uid >= 1 && uid <= 999) || (uid > 60000 && uid < 65534)
}

// userPattern is the strict form of systemd's "User/Group Name Syntax".
var userPattern = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)

// A FAT32 file system has at least 65525 clusters, each of at least one
// sector; two kernels with their initramfs need more than that of 512 bytes.
const (
	minESPMiB     = 128
	minESP4096MiB = 260
	maxESPMiB     = 4096
)

func (c *checker) disk(d Disk) {
	const path report.Path = "spec.disk"
	minESP := minESPMiB
	switch d.SectorSize {
	case 512:
	case 4096:
		minESP = minESP4096MiB
	default:
		c.add(path.Field("sectorSize"), fmt.Sprintf("%d is not the size of a sector", d.SectorSize), "use 512 or 4096")
	}
	for _, size := range []struct {
		field           string
		value, min, max int
	}{
		{"espMiB", d.ESPMiB, minESP, maxESPMiB},
		{"rootMiB", d.RootMiB, 64, 64 * 1024},
		{"compressionLevel", d.CompressionLevel, 1, 22},
	} {
		switch at := path.Field(size.field); {
		case size.value == 0:
			c.add(at, "missing", fmt.Sprintf("use %d to %d", size.min, size.max))
		case size.field == "espMiB" && size.value < size.min && size.value >= minESPMiB:
			c.add(at, fmt.Sprintf("with sectors of 4096 bytes, a FAT32 file system does not fit into %d MiB", size.value),
				fmt.Sprintf("use %d to %d", size.min, size.max))
		case size.value < size.min || size.value > size.max:
			c.add(at, fmt.Sprintf("%d is out of range", size.value), fmt.Sprintf("use %d to %d", size.min, size.max))
		}
	}
}

func (c *checker) outputs(outputs []Output) {
	names := seen{}
	for i, output := range outputs {
		at := report.Path("spec.outputs").Index(i)
		if !slices.Contains(Outputs(), output) {
			c.add(at, fmt.Sprintf("unknown output %q", output), "use raw, zstd, pxe, iso or installer")
			continue
		}
		c.unique(names, at, string(output))
	}
}
