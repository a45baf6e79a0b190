package cluster

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/internal/report"
)

var unitPattern = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|timer|socket|path|mount|automount|target|slice)$`)

func (c *checker) units(list report.Path, units []Unit) {
	names := seen{}
	for i, u := range units {
		at := list.Index(i)
		c.roles(at, u.Roles)
		if !unitPattern.MatchString(u.Name) {
			c.add(at.Field("name"), fmt.Sprintf("%q is not the name of a unit", u.Name), "write it as name.service")
		} else {
			c.unique(names, at.Field("name"), u.Name)
		}
		if u.Contents != "" {
			c.unitText(at.Field("contents"), u.Contents)
		}
		if u.Contents == "" && !u.Enabled && len(u.Dropins) == 0 {
			c.add(at, "changes nothing", "set enabled, contents or dropins")
		}
		dropins := seen{}
		for j, d := range u.Dropins {
			at := at.Field("dropins").Index(j)
			if !strings.HasSuffix(d.Name, ".conf") || strings.ContainsAny(d.Name, "/ ") {
				c.add(at.Field("name"), fmt.Sprintf("%q is not the name of a drop-in", d.Name), "write it as 10-name.conf")
			}
			c.unique(dropins, at.Field("name"), d.Name)
			c.unitText(at.Field("contents"), d.Contents)
		}
	}
}

var (
	sectionPattern    = regexp.MustCompile(`^\[[A-Za-z][A-Za-z-]*\]$`)
	assignmentPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*\s*=`)
)

// unitText finds what systemd would ignore with no more than a line in the
// journal: systemd.syntax(7).
func (c *checker) unitText(path report.Path, text string) {
	section, continued := "", false
	for number, line := range strings.Split(text, "\n") {
		problem := func(message, remedy string) {
			c.add(path, fmt.Sprintf("line %d: %s", number+1, message), remedy)
		}
		trimmed := strings.TrimSpace(line)
		comment := strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";")
		switch {
		case comment && continued:
			problem("a comment inside of a continued line", "move it in front of the setting")
			continue
		case comment || trimmed == "":
			continued = false
			continue
		case continued:
		case sectionPattern.MatchString(trimmed):
			section = trimmed
		case !assignmentPattern.MatchString(trimmed):
			problem(fmt.Sprintf("%q is neither a section nor a setting", trimmed), "")
		case section == "":
			problem("a setting before the first section", "begin with [Unit] or [Service]")
		case section == "[Service]" && strings.HasPrefix(trimmed, "StartLimit"):
			problem("StartLimit settings belong to [Unit]", "move it, and name it StartLimitIntervalSec= or StartLimitBurst=")
		case strings.HasPrefix(trimmed, "RequiredBy") && strings.Contains(trimmed, "local-fs.target"):
			problem("the boot would wait for this unit", "use WantedBy=multi-user.target")
		}
		continued = strings.HasSuffix(trimmed, `\`)
	}
	if strings.TrimSpace(text) == "" {
		c.add(path, "is empty", "")
	}
}

// yamlProblem says why a text is not a YAML document, or "".
func yamlProblem(text string) string {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
	}
	if value == nil {
		return "is empty"
	}
	return ""
}

// object checks that a text is one object of Kubernetes of that kind.
func (c *checker) object(path report.Path, text, apiVersion, kind string) {
	if problem := yamlProblem(text); problem != "" {
		c.add(path, problem, "")
		return
	}
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
	}
	// A text that is no mapping has neither.
	_ = yaml.Unmarshal([]byte(text), &head)
	if head.APIVersion != apiVersion || head.Kind != kind {
		c.add(path, fmt.Sprintf("is not a %s of %s", kind, apiVersion), fmt.Sprintf("begin with apiVersion: %s and kind: %s", apiVersion, kind))
	}
}
