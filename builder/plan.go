package builder

import (
	"fmt"
	"io/fs"
	"slices"
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
	baseFormat      = "2"
	layerFormat     = "2"
	containerFormat = "zstd/3"
	// assemblyFormat is part of the image's ID: it changes when equal parts
	// would be put together to other bytes.
	assemblyFormat = "3"
)

// Host is what a build takes from the machine that it runs on.
type Host struct {
	// Toolchain names the Go compiler and its target.
	Toolchain string `json:"toolchain"`
	// CToolchain names the C compiler, of programs that need one.
	CToolchain string `json:"cToolchain"`
	// Mmdebstrap and Xorriso are versions of the programs that write the base
	// archive and the ISO.
	Mmdebstrap string `json:"mmdebstrap"`
	Xorriso    string `json:"xorriso"`
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
	ID   string `json:"id"`
	Name string `json:"name"`
	// Cmdline is the kernel command line of an installed machine, but for the
	// root's hash and size, which nobody knows before it is made.
	Cmdline string `json:"cmdline"`
	Host    Host   `json:"host"`
	Steps   []Step `json:"steps"`
	// Layers are the layers of the root, from the lowest up. The recipe's own
	// files, Entries, and the agent are the highest one.
	Layers  []Layer       `json:"layers"`
	Disk    disk.Layout   `json:"disk"`
	Recipe  images.Recipe `json:"recipe"`
	Lock    Lock          `json:"-"`
	Entries []tree.Entry  `json:"-"`
	steps   map[string]string
	origin  map[string]output // of programs, by name
}

// A Layer is a part of the root that is compressed once and kept: the base
// packages, or files that some step made.
type Layer struct {
	Name string `json:"name"`
	// Files are the paths in the root of what steps made, none for the base.
	Files []LayerFile `json:"files,omitempty"`
}

// A LayerFile is one output of a step at its place in the root.
type LayerFile struct {
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	// Step and Output name the file.
	Step   string `json:"step"`
	Output string `json:"output"`
}

// Names of steps. Those of modules, downloads, containers and layers carry the
// name of each.
const (
	stepBase      = "base"
	stepModule    = "module "
	stepDownload  = "download "
	stepContainer = "container "
	stepBoot      = "boot"
	stepLayer     = "layer "
)

// NewPlan computes the plan of an image. The sources that the recipe names are
// read from dir, the recipe's folder.
func NewPlan(r images.Recipe, dir fs.FS, lock Lock, host Host) (Plan, error) {
	p := Plan{Name: r.Metadata.Name, Recipe: r, Lock: lock, Host: host, steps: map[string]string{}, origin: map[string]output{}}
	spec := r.Spec
	if lock.Key != LockKey(spec) {
		return Plan{}, fmt.Errorf("planning %s: the lock is of another recipe: resolve again", r.Metadata.Name)
	}
	var err error
	if p.Entries, err = tree.FromRecipe(spec, dir); err != nil {
		return Plan{}, fmt.Errorf("planning %s: %w", r.Metadata.Name, err)
	}
	p.Entries = append(p.Entries, tree.PresetLast())

	epoch := spec.Epoch.Unix()
	p.Layers = []Layer{{Name: layerBase}}
	p.step(stepBase, baseFormat, spec.Distribution.Suite, lock.Root, epoch, host.Mmdebstrap)
	if err := p.programs(); err != nil {
		return Plan{}, fmt.Errorf("planning %s: %w", r.Metadata.Name, err)
	}
	ignition, ok := p.origin[ignitionProgram]
	if !ok {
		return Plan{}, fmt.Errorf("planning %s: no program of spec.modules or spec.downloads is named %q: the initramfs needs it", r.Metadata.Name, ignitionProgram)
	}
	if err := p.containers(dir); err != nil {
		return Plan{}, fmt.Errorf("planning %s: %w", r.Metadata.Name, err)
	}
	p.step(stepBoot, p.steps[stepBase], p.steps[ignition.step], host.AgentSHA256, rootfs.BootDigest(), epoch, spec.ImageKeys)

	p.layerSteps()
	p.ID = source.SumJSON([]any{
		format, assemblyFormat, r.Metadata.Name, spec.Kernel, spec.Disk, spec.Outputs, epoch,
		p.Steps, treeDigest(p.Entries), host.AgentSHA256, host.Xorriso, lock.Boot,
	})
	if p.Disk, err = disk.NewLayout(spec.Disk, p.ID, 0); err != nil {
		return Plan{}, err
	}
	p.Cmdline = p.cmdline()
	return p, nil
}

func (p Plan) cmdline() string {
	return strings.Replace(images.InstalledCmdline(images.RootInfo{}, p.Disk.Info, p.Recipe.Spec.Kernel.Arguments),
		images.ArgVerity+"=:0", images.ArgVerity+"=HASH:SIZE", 1)
}

// output names a file that a step makes.
type output struct{ step, name string }

// programs adds the steps and the layers of modules and downloads.
func (p *Plan) programs() error {
	spec := p.Recipe.Spec
	for i, m := range spec.Modules {
		step := stepModule + m.Module
		inputs := []any{m, p.Lock.Modules[i], p.Host.Toolchain}
		if m.Cgo {
			inputs = append(inputs, p.Host.CToolchain)
		}
		p.step(step, inputs...)
		layer := Layer{Name: m.Module}
		for _, prog := range m.Programs {
			name := source.ProgramName(prog)
			p.origin[name] = output{step, name}
			if prog.Path != "" {
				layer.Files = append(layer.Files, LayerFile{prog.Path, 0o755, step, name})
			}
		}
		p.addLayer(layer)
	}
	layer := Layer{Name: layerDownloads}
	for _, d := range spec.Downloads {
		step := stepDownload + d.Name
		file, ok := p.Lock.Download(d)
		if !ok {
			return fmt.Errorf("the lock has no %s: resolve again", d.URL)
		}
		p.step(step, d.Member, file.SHA256)
		p.origin[d.Name] = output{step, outputFile}
		if d.Path != "" {
			layer.Files = append(layer.Files, LayerFile{d.Path, fs.FileMode(d.Mode), step, outputFile})
		}
	}
	p.addLayer(layer)
	return nil
}

// containers adds the steps and the layer of container images.
func (p *Plan) containers(dir fs.FS) error {
	layer := Layer{Name: layerContainers}
	for _, c := range p.Recipe.Spec.Containers {
		step := stepContainer + c.Reference
		var content any
		switch {
		case c.Program != "":
			content = []any{p.steps[p.origin[c.Program].step], p.Lock.Containers[c.Reference]}
		case c.Image != "":
			pinned, ok := p.Lock.Image(c.Image)
			if !ok {
				return fmt.Errorf("the lock has no image %s: resolve again", c.Image)
			}
			content = pinned
		default:
			digest, err := folderDigest(dir, c.Layout)
			if err != nil {
				return err
			}
			content = digest
		}
		p.step(step, containerFormat, c, content, p.Recipe.Spec.Epoch.Unix())
		layer.Files = append(layer.Files, LayerFile{"/" + images.ContainerPath(c), 0o644, step, outputFile})
	}
	p.addLayer(layer)
	return nil
}

// addLayer adds a layer that has something in it.
func (p *Plan) addLayer(l Layer) {
	if len(l.Files) > 0 {
		p.Layers = append(p.Layers, l)
	}
}

// layerSteps adds the steps that pack the layers. The base goes without what
// lies over it.
func (p *Plan) layerSteps() {
	level := p.Recipe.Spec.Disk.CompressionLevel
	for _, l := range p.Layers {
		content := []any{layerFormat, level}
		if l.Name == layerBase {
			content = append(content, p.steps[stepBase], rootfs.KeepFormat, p.over(), p.Recipe.Spec.Epoch.Unix())
		}
		for _, f := range l.Files {
			content = append(content, f, p.steps[f.Step])
		}
		p.step(stepLayer+l.Name, content...)
	}
}

// over returns the paths of all files and links that lie over the base, sorted.
func (p Plan) over() []string {
	paths := []string{tree.Clean(images.AgentPath)}
	for _, e := range p.Entries {
		if e.Kind != tree.Dir {
			paths = append(paths, e.Path)
		}
	}
	for _, l := range p.Layers {
		for _, f := range l.Files {
			paths = append(paths, tree.Clean(f.Path))
		}
	}
	slices.Sort(paths)
	return paths
}

func (p *Plan) step(name string, inputs ...any) {
	key := source.SumJSON(append([]any{format, name}, inputs...))
	p.Steps = append(p.Steps, Step{name, key})
	p.steps[name] = key
}

// Names of layers that are not those of modules, and of the only output of a
// step.
const (
	layerBase       = "base"
	layerDownloads  = "downloads"
	layerContainers = "containers"
	outputFile      = "file"
)

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

// folderDigest names the content of a folder beside the recipe.
func folderDigest(dir fs.FS, name string) (string, error) {
	var parts []string
	err := fs.WalkDir(dir, name, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(dir, p)
		parts = append(parts, p, source.SumBytes(b))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading %q beside the recipe: %w", name, err)
	}
	return source.SumJSON(parts), nil
}
