package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/images"
)

// describe writes the manifest, the SBOM and the list of digests beside the
// artifacts.
func (b *build) describe(ctx context.Context, p parts, img image) (images.Manifest, error) {
	if err := b.sbom(p, img); err != nil {
		return images.Manifest{}, err
	}
	artifacts, err := sumArtifacts(ctx, img.dir)
	if err != nil {
		return images.Manifest{}, err
	}
	m := b.plan.manifest(img, artifacts)
	if m.Files, err = b.installed(p); err != nil {
		return images.Manifest{}, err
	}
	if p.provisioned != nil {
		m.Provisioned = p.provisioned.changes
		m.Files = applied(m.Files, m.Provisioned)
	}
	if err := writeJSON(img.path(images.ManifestFile), m); err != nil {
		return images.Manifest{}, err
	}
	digest, _, err := source.SumFile(img.path(images.ManifestFile))
	if err != nil {
		return images.Manifest{}, err
	}
	var sums bytes.Buffer
	for _, a := range append(artifacts, images.Artifact{Path: images.ManifestFile, SHA256: digest}) {
		fmt.Fprintf(&sums, "%s  %s\n", a.SHA256, a.Path)
	}
	return m, os.WriteFile(img.path(images.SumsFile), sums.Bytes(), 0o644)
}

// sumArtifacts returns every file of the folder with its digest, sorted by
// path.
func sumArtifacts(ctx context.Context, dir string) ([]images.Artifact, error) {
	var all []images.Artifact
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		all = append(all, images.Artifact{Path: filepath.ToSlash(rel)})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b images.Artifact) int { return strings.Compare(a.Path, b.Path) })
	g, _ := errgroup.WithContext(ctx)
	for i := range all {
		g.Go(func() (err error) {
			a := &all[i]
			a.SHA256, a.Size, err = source.SumFile(filepath.Join(dir, filepath.FromSlash(a.Path)))
			return err
		})
	}
	return all, g.Wait()
}

// manifest describes the finished image, but for the files of its root.
func (p Plan) manifest(img image, artifacts []images.Artifact) images.Manifest {
	recipe := p.Recipe.WithoutMirrors()
	m := images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind,
		Name: p.Name, ID: p.ID, Kernel: img.kernel, Root: img.root, Cmdline: img.cmdline,
		Disk: img.info, Artifacts: artifacts, Inputs: p.inputs(), Recipe: &recipe,
	}
	for _, mod := range p.Recipe.Spec.Modules {
		if mod.Module == "github.com/coreos/ignition/v2" {
			m.Ignition = images.Ignition{Version: mod.Version, MaxSpec: maxSpec(mod.Version)}
		}
	}
	// The API server's image is called after the version, wherever it is from.
	for _, c := range p.Recipe.Spec.Containers {
		if name, tag, ok := strings.Cut(path.Base(c.Reference), ":"); ok && name == "kube-apiserver" {
			m.Kubernetes = tag
		}
	}
	return m
}

// inputs are all that the image is made from.
func (p Plan) inputs() []images.Input {
	var all []images.Input
	for _, m := range p.Lock.Modules {
		all = append(all, images.Input{Source: "gomod", Name: m.Path, Version: m.Version, Digest: m.Sum})
	}
	for _, d := range p.Lock.debs() {
		all = append(all, images.Input{Source: "deb", Name: d.Package, Version: d.Version, Digest: "sha256:" + d.SHA256})
	}
	for _, f := range p.Lock.Downloads {
		all = append(all, images.Input{Source: "url", Name: f.URL, Digest: "sha256:" + f.SHA256})
	}
	for _, i := range p.Lock.Images {
		all = append(all, images.Input{Source: "oci", Name: i.Image, Digest: i.digest()})
	}
	return append(all, images.Input{Source: "file", Name: agentName, Digest: "sha256:" + p.Host.AgentSHA256})
}

// agentName is the name of the agent among the inputs.
const agentName = "k8snode-agent"

// installed are the files that do not come from packages.
func (b *build) installed(p parts) ([]images.InstalledFile, error) {
	all, err := tree.Installed(b.plan.Entries)
	if err != nil {
		return nil, err
	}
	all = append(all, images.InstalledFile{Path: images.AgentPath, Mode: 0o755, SHA256: b.plan.Host.AgentSHA256})
	for _, l := range b.plan.Layers {
		for _, f := range l.Files {
			all = append(all, images.InstalledFile{Path: f.Path, Mode: uint32(f.Mode), SHA256: p.made[f.Step][f.Output]})
		}
	}
	slices.SortFunc(all, func(a, b images.InstalledFile) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// applied returns the files as changes left them.
func applied(files []images.InstalledFile, changes []images.Change) []images.InstalledFile {
	changed := make(map[string]images.Change, len(changes))
	for _, c := range changes {
		changed[c.Path] = c
	}
	var left []images.InstalledFile
	for _, f := range files {
		switch c, ok := changed[f.Path]; {
		case !ok:
			left = append(left, f)
		case c.Change != images.ChangeRemoved && c.Special == "":
			left = append(left, c.InstalledFile)
		}
	}
	return left
}

// sbom writes the list of what the image is made from.
func (b *build) sbom(p parts, img image) error {
	spec := b.plan.Recipe.Spec
	in := sbom.Input{
		Name: b.plan.Name, ID: b.plan.ID, Epoch: spec.Epoch,
		Suite: spec.Distribution.Suite, Root: b.plan.Lock.Root, Boot: b.plan.Lock.Boot,
	}
	if p.provisioned != nil {
		in.Provisioned = len(p.provisioned.changes)
	}
	for i, m := range spec.Modules {
		module := sbom.Module{Pin: b.plan.Lock.Modules[i]}
		for _, prog := range m.Programs {
			name := source.ProgramName(prog)
			digest := p.made[stepModule+m.Module][name]
			program, err := sbom.ReadProgram(name, b.o.Cache.Path(digest), digest)
			if err != nil {
				return err
			}
			module.Programs = append(module.Programs, program)
		}
		in.Modules = append(in.Modules, module)
	}
	for _, f := range b.plan.Lock.Downloads {
		in.Downloads = append(in.Downloads, sbom.Download{Name: f.Name, URL: f.URL, SHA256: f.SHA256})
	}
	for _, c := range spec.Containers {
		container := sbom.Container{Reference: c.Reference, Debs: b.plan.Lock.Containers[c.Reference]}
		if pinned, ok := b.plan.Lock.Image(c.Image); ok {
			container.Image = pinned.Pinned
		}
		if from, ok := b.plan.origin[c.Program]; ok {
			container.Program = p.made[from.step][from.name]
		}
		in.Containers = append(in.Containers, container)
	}
	agent, err := sbom.ReadProgram(agentName, b.o.Agent, b.plan.Host.AgentSHA256)
	if err != nil {
		return err
	}
	in.Files = append(in.Files, agent)
	f, err := os.Create(img.path(images.SBOMFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sbom.Write(f, in); err != nil {
		return err
	}
	return f.Close()
}

// verify checks the finished files against the plan.
func (b *build) verify(ctx context.Context, img image, m images.Manifest) error {
	recipe, err := tree.Installed(b.plan.Entries)
	if err != nil {
		return err
	}
	report, err := verify.Verify(ctx, img.dir, verify.Options{
		Recipe: &b.plan.Recipe, Inputs: m.Inputs, Files: recipe,
		BuildPaths: []string{b.o.Cache.Dir}, Work: img.work,
		Env: b.o.Env, Jobs: b.o.Jobs, Now: b.o.Now,
	})
	if err != nil {
		return err
	}
	return report.Err()
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

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
