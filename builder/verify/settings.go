package verify

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// settings compares what the configuration files say together with what the
// recipe says: a file that a package brings may win over ours.
func (c rootCheck) settings() {
	spec := c.v.recipe.Spec
	c.effective("spec.sysctls", "the sysctl", spec.Sysctls, func() map[string]setting {
		return c.merge("/sysctl.d/", sysctlLine, "/etc/sysctl.conf")
	})
	c.effective("spec.journald", "journald's setting", spec.Journald, func() map[string]setting {
		return c.merge("/systemd/journald.conf.d/", settingLine)
	})
	loaded := c.merge("/modules-load.d/", func(line string) (string, string, bool) { return line, "", true })
	for _, m := range spec.KernelModules {
		if _, ok := loaded[m]; !ok {
			c.add(bakeAgain, "the kernel module %s of spec.kernelModules is in no file of modules-load.d", m)
		}
	}
	for _, u := range spec.Users {
		c.user(u.Name, u.UID)
	}
}

// A setting is a value with the file that has it.
type setting struct{ value, file string }

func (c rootCheck) effective(field, what string, want map[string]string, read func() map[string]setting) {
	if len(want) == 0 {
		return
	}
	got := read()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		switch s, ok := got[k]; {
		case !ok:
			c.add(bakeAgain, "%s %s of %s is in no file", what, k, field)
		case strings.Join(strings.Fields(s.value), " ") != strings.Join(strings.Fields(want[k]), " "):
			c.add("see to it that no file of a later name sets it", "%s %s is %q by %s, and %s says %q", what, k, s.value, s.file, field, want[k])
		}
	}
}

// merge reads the .conf files of a folder below /etc and /usr/lib in the order
// of their names, of which the last has the last word. One in /etc hides that
// of the same name in /usr/lib.
func (c rootCheck) merge(dir string, parse func(line string) (key, value string, ok bool), last ...string) map[string]setting {
	files := map[string]string{}
	for _, root := range []string{"/usr/lib", "/etc"} {
		for p := range c.fs.nodes {
			if path.Dir(p)+"/" == root+dir && strings.HasSuffix(p, ".conf") {
				files[path.Base(p)] = p
			}
		}
	}
	var order []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		order = append(order, files[name])
	}
	all := map[string]setting{}
	for _, p := range append(order, last...) {
		text, _ := c.fs.text(p)
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line == "" || strings.ContainsAny(line[:1], "#;[") {
				continue
			}
			if k, value, ok := parse(line); ok {
				all[k] = setting{value, p}
			}
		}
	}
	return all
}

func settingLine(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, "=")
	return strings.TrimSpace(key), strings.TrimSpace(value), ok
}

// sysctlLine reads a line of sysctl.d(5), in which a key may have slashes, and
// a minus before it.
func sysctlLine(line string) (key, value string, ok bool) {
	key, value, ok = settingLine(strings.TrimPrefix(line, "-"))
	if first := strings.IndexAny(key, "./"); first >= 0 && key[first] == '/' {
		key = strings.Map(func(r rune) rune {
			switch r {
			case '/':
				return '.'
			case '.':
				return '/'
			}
			return r
		}, key)
	}
	return key, value, ok
}
