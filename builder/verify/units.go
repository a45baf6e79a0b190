package verify

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

const unitDir = "/usr/lib/systemd/system/"

// presetDirs are where systemd looks for preset files, the first wins for one
// name (systemd.preset(5)).
func presetDirs() []string {
	return []string{"/etc/systemd/system-preset/", "/run/systemd/system-preset/", "/usr/local/lib/systemd/system-preset/", "/usr/lib/systemd/system-preset/"}
}

// distributionPresets is the file that systemd's own package has.
const distributionPresets = "90-systemd.preset"

// A presetRule is one line of a preset file.
type presetRule struct {
	enable  bool
	pattern string
	file    string
}

// presetRules returns the lines of all preset files in the order in which
// systemd applies them: by the name of the file, whatever its folder.
func presetRules(texts map[string]string) []presetRule {
	files := map[string]string{} // name to path
	for _, dir := range presetDirs() {
		for p := range texts {
			if name, ok := strings.CutPrefix(p, dir); ok && strings.HasSuffix(name, ".preset") && !strings.Contains(name, "/") {
				if _, hidden := files[name]; !hidden {
					files[name] = p
				}
			}
		}
	}
	var rules []presetRule
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for line := range strings.Lines(texts[files[name]]) {
			f := strings.Fields(line)
			if len(f) < 2 || (f[0] != "enable" && f[0] != "disable" && f[0] != "ignore") {
				continue
			}
			rules = append(rules, presetRule{f[0] == "enable", f[1], files[name]})
		}
	}
	return rules
}

// preset returns the rule for a unit: the first that matches. Without one,
// systemd enables.
func preset(rules []presetRule, unit string) presetRule {
	for _, r := range rules {
		if ok, err := path.Match(r.pattern, unit); err == nil && ok {
			return r
		}
	}
	return presetRule{enable: true, pattern: "*", file: "no preset file"}
}

// units evaluates the presets as systemd does on the first boot: what the
// recipe enables will be, and nothing else.
func (c rootCheck) units() {
	rules := presetRules(c.fs.texts)
	enabled := map[string]bool{}
	for _, u := range c.v.recipe.Spec.Units {
		enabled[u.Name] = u.Enabled
		if _, ok := c.fs.unit(u.Name); !ok {
			c.add("add the package that has it to spec.packages, or drop the unit from spec.units", "there is no unit %s, which the recipe names", u.Name)
		}
		r := preset(rules, u.Name)
		switch {
		case u.Enabled && !r.enable:
			c.add(bakeAgain, "%s is disabled by %q of %s, and the recipe enables it", u.Name, r.pattern, r.file)
		case !u.Enabled && r.enable:
			c.add(bakeAgain, "%s is enabled by %q of %s, and the recipe does not enable it", u.Name, r.pattern, r.file)
		}
	}
	for _, name := range c.installable() {
		if _, known := enabled[name]; known {
			continue
		}
		switch r := preset(rules, name); {
		case r.enable && path.Base(r.file) == distributionPresets:
			c.v.note("%s is enabled by the distribution's %s", name, r.file)
		case r.enable:
			c.add("add it to spec.units, or remove the preset", "%s is enabled by %q of %s, and the recipe does not name it", name, r.pattern, r.file)
		}
	}
	c.wants(enabled)
}

// unit returns the file of a unit, or of the template that it is made of.
func (fs *rootFS) unit(name string) (node, bool) {
	for _, dir := range []string{"/etc/systemd/system/", unitDir} {
		if n, ok := fs.nodes[dir+name]; ok {
			return n, true
		}
	}
	if prefix, rest, ok := strings.Cut(name, "@"); ok {
		if _, suffix, ok := strings.Cut(rest, "."); ok && suffix != rest && rest != "."+suffix {
			return fs.unit(prefix + "@." + suffix)
		}
	}
	return node{}, false
}

// installable returns the units that presets can enable: files with an
// [Install] section that are not an alias.
func (c rootCheck) installable() []string {
	var names []string
	for p, text := range c.fs.texts {
		dir, name := path.Split(p)
		if (dir == unitDir || dir == "/etc/systemd/system/") && strings.Contains("\n"+text, "\n[Install]") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// wants looks for links that enable units past the presets.
func (c rootCheck) wants(enabled map[string]bool) {
	listed := map[string]bool{}
	for _, f := range c.v.m.Files {
		listed[f.Path] = true
	}
	for _, n := range c.fs.order {
		dir, name := path.Split(n.path)
		dir = strings.TrimSuffix(dir, "/")
		if ext := path.Ext(dir); ext != ".wants" && ext != ".requires" && ext != ".upholds" || listed[n.path] {
			continue
		}
		switch parent := path.Dir(dir) + "/"; {
		case parent == "/etc/systemd/system/":
			c.add("drop the link: presets enable units, by spec.units", "%s enables %s past the presets", n.path, name)
		case parent == unitDir && c.ours(name) && !enabled[name]:
			c.add("drop the link, or enable the unit in spec.units", "%s enables %s, and the recipe does not", n.path, name)
		}
	}
}

// ours reports whether the recipe brings the file of a unit.
func (c rootCheck) ours(unit string) bool {
	return slices.ContainsFunc(c.v.recipe.Spec.Units, func(u images.Unit) bool { return u.Name == unit && u.Source != "" })
}
