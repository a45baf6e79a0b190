package builder

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// Formats are part of the keys of all steps, or of one kind. One changes when
// the way that a step is made changes in a manner that its inputs do not show:
// that invalidates what older builders cached.
const (
	format          = "1"
	containerFormat = "zstd"
	diskFormat      = "2"
)

// Host is what a build takes from the machine that it runs on.
type Host struct {
	// Toolchain names the Go compiler and its target.
	Toolchain string `json:"toolchain"`
	// AgentSHA256 is the digest of the agent's program.
	AgentSHA256 string `json:"agentSHA256"`
}

// A Step is one cached piece of a build. Its key is the digest of its inputs.
type Step struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// A Plan says all that a build will do. It is computed without I/O beyond the
// recipe's own folder.
type Plan struct {
	// ID is the digest of every input.
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Cmdline string        `json:"cmdline"`
	Host    Host          `json:"host"`
	Steps   []Step        `json:"steps"`
	Disk    disk.Layout   `json:"-"`
	Recipe  images.Recipe `json:"recipe"`
	Lock    Lock          `json:"-"`
	Entries []tree.Entry  `json:"-"`
	steps   map[string]string
}

// Names of steps. Those of modules and containers carry the name of each.
const (
	stepBase      = "base"
	stepModule    = "module "
	stepContainer = "container "
	stepInitramfs = "initramfs"
	stepRoot      = "root"
	stepDisk      = "disk"
)

// NewPlan computes the plan of an image. The sources that the recipe names are
// read from dir, the recipe's folder.
func NewPlan(r images.Recipe, dir fs.FS, lock Lock, host Host) (Plan, error) {
	p := Plan{Name: r.Metadata.Name, Recipe: r, Lock: lock, Host: host, steps: map[string]string{}}
	spec := r.Spec
	if lock.Key != LockKey(spec) {
		return Plan{}, fmt.Errorf("planning %s: the lock is of another recipe: resolve again", r.Metadata.Name)
	}
	var err error
	if p.Entries, err = tree.FromRecipe(spec, dir); err != nil {
		return Plan{}, fmt.Errorf("planning %s: %w", r.Metadata.Name, err)
	}

	epoch := spec.Epoch.Unix()
	base := p.step(stepBase, spec.Distribution.Suite, lock.Root, epoch)
	programs := map[string]string{} // key of the module that makes a program
	for i, m := range spec.Modules {
		key := p.step(stepModule+m.Module, m, lock.Modules[i], host.Toolchain)
		for _, prog := range m.Programs {
			programs[source.ProgramName(prog)] = key
		}
	}
	ignition, ok := programs[ignitionProgram]
	if !ok {
		return Plan{}, fmt.Errorf("planning %s: no program of spec.modules is named %q: the initramfs needs it", r.Metadata.Name, ignitionProgram)
	}
	var containers []string
	for _, c := range spec.Containers {
		containers = append(containers, p.step(stepContainer+c.Reference, containerFormat, c, programs[c.Program], lock.Containers[c.Reference], epoch))
	}
	initramfs := p.step(stepInitramfs, base, ignition, host.AgentSHA256, rootfs.ModuleDigest(), epoch)
	root := p.step(stepRoot, base, programs, containers, treeDigest(p.Entries), host.AgentSHA256, spec.Disk.CompressionLevel, epoch)

	p.ID = source.SumJSON([]any{format, r.Metadata.Name, spec.Kernel, spec.Disk, initramfs, root, lock.Boot})
	if p.Disk, err = disk.NewLayout(spec.Disk, p.ID, 0); err != nil {
		return Plan{}, err
	}
	p.Cmdline = strings.Join(append([]string{
		"root=PARTUUID=" + strings.ToLower(p.Disk.Partition(images.LabelRoot).GUID),
		"rootfstype=squashfs", "ro",
		"k8snode.disk=" + strings.ToLower(p.Disk.Info.GUID),
		"rd.systemd.gpt_auto=0", "systemd.gpt_auto=0",
	}, spec.Kernel.Arguments...), " ")
	p.step(stepDisk, diskFormat, p.ID, p.Cmdline)
	return p, nil
}

func (p *Plan) step(name string, inputs ...any) string {
	key := source.SumJSON(append([]any{format, name}, inputs...))
	p.Steps = append(p.Steps, Step{name, key})
	p.steps[name] = key
	return key
}

// ignitionProgram is the name of the program that goes into the initramfs.
const ignitionProgram = "ignition"

// treeDigest names the recipe's own files.
func treeDigest(entries []tree.Entry) string {
	type entry struct {
		Path, Kind, Target, Digest string
		Mode                       uint32
	}
	list := make([]entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, entry{e.Path, string(e.Kind), e.Target, source.SumBytes(e.Content), uint32(e.Mode)})
	}
	return source.SumJSON(list)
}

// manifest describes the finished image.
func (p Plan) manifest(kernel string, artifacts []images.Artifact) images.Manifest {
	m := images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind,
		Name: p.Name, ID: p.ID, Kernel: kernel,
		Disk: p.Disk.Info, Artifacts: artifacts,
	}
	for i, mod := range p.Recipe.Spec.Modules {
		pin := p.Lock.Modules[i]
		m.Inputs = append(m.Inputs, images.Input{Source: "gomod", Name: pin.Path, Version: pin.Version, Digest: pin.Sum})
		switch mod.Module {
		case "k8s.io/kubernetes":
			m.Kubernetes = mod.Version
		case "github.com/coreos/ignition/v2":
			m.Ignition = images.Ignition{Version: mod.Version, MaxSpec: maxSpec(mod.Version)}
		}
	}
	for _, d := range p.Lock.debs() {
		m.Inputs = append(m.Inputs, images.Input{Source: "deb", Name: d.Package, Version: d.Version, Digest: "sha256:" + d.SHA256})
	}
	m.Inputs = append(m.Inputs, images.Input{Source: "file", Name: "k8snode-agent", Digest: "sha256:" + p.Host.AgentSHA256})
	return m
}

// maxSpec is the newest stable config specification that a version of Ignition
// reads (its release notes; the config/ folders of its tags).
func maxSpec(version string) string {
	var minor int
	if _, err := fmt.Sscanf(version, "v2.%d.", &minor); err != nil {
		return ""
	}
	switch {
	case minor >= 26:
		return "3.6.0"
	case minor >= 20:
		return "3.5.0"
	case minor >= 15:
		return "3.4.0"
	case minor == 14:
		return "3.3.0"
	}
	return ""
}

// containerPath is where an image's archive lies in the root.
func containerPath(c images.Container) string {
	name := strings.NewReplacer("/", "_", ":", "_").Replace(c.Reference) + ".tar"
	return path.Join("usr/share/k8snode/images", c.Role, name)
}
