package verify

import (
	"path"
	"strings"
)

const modulesDir = "/usr/lib/modules/"

// kernel checks that the modules in the root are those of the kernel.
func (c rootCheck) kernel() {
	release := c.v.m.Kernel
	for _, n := range c.fs.order {
		if path.Dir(n.path)+"/" == modulesDir && path.Base(n.path) != release {
			c.add("name one kernel in spec.kernel and none in spec.packages", "%s is of another kernel than %s", n.path, release)
		}
	}
	dir := modulesDir + release
	if _, ok := c.fs.nodes[dir+"/modules.dep"]; !ok {
		c.add("name the package with the kernel's modules in spec.kernel", "the kernel is %s, and there is no %s/modules.dep", release, dir)
		return
	}
	have := map[string]bool{}
	for p := range c.fs.nodes {
		if strings.HasPrefix(p, dir+"/") {
			if m, ok := moduleName(p); ok {
				have[m] = true
			}
		}
	}
	builtin := c.fs.texts[dir+"/modules.builtin"]
	for line := range strings.Lines(builtin) {
		if m, ok := moduleName(strings.TrimSpace(line)); ok {
			have[m] = true
		}
	}
	for _, m := range c.v.recipe.Spec.KernelModules {
		if !have[strings.ReplaceAll(m, "-", "_")] {
			c.add("correct the name in spec.kernelModules, or add the package that has it", "the kernel %s has no module %s", release, m)
		}
	}
}

// moduleName returns the name of a kernel module by that of its file, with
// underscores.
func moduleName(file string) (string, bool) {
	name := path.Base(file)
	for _, packed := range []string{".xz", ".zst", ".gz"} {
		name = strings.TrimSuffix(name, packed)
	}
	name, ok := strings.CutSuffix(name, ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok
}
