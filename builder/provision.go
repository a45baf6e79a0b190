package builder

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/chroot"
	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// A Root is the root of an image before it is sealed. It is unpacked when it
// is first asked for: to provision nothing costs nothing.
type Root struct {
	open func(context.Context) (chroot.Root, error)
}

// Open returns the unpacked root, the same one every time.
func (r *Root) Open(ctx context.Context) (chroot.Root, error) { return r.open(ctx) }

// provisioned is what became of a root that was changed.
type provisioned struct {
	changes []images.Change
	// sealed is an archive of the root, changed one of what was added or
	// modified.
	sealed, changed string
}

// provision lets the caller change the root, and returns what it did to it;
// nil if that is nothing. The archives are in work.
func (b *build) provision(ctx context.Context, p pieces, work string) (*provisioned, error) {
	var root chroot.Root
	var before chroot.Snapshot
	open := func(ctx context.Context) (chroot.Root, error) {
		if before != nil {
			return root, nil
		}
		var err error
		if root, err = b.unpack(ctx, p, work); err != nil {
			return chroot.Root{}, err
		}
		before, err = root.Scan(ctx, lasting, nil)
		return root, err
	}
	start := b.o.now()
	if err := b.o.Provision(ctx, &Root{open: open}); err != nil {
		return nil, fmt.Errorf("provisioning the root: %w", err)
	}
	if before == nil {
		return nil, nil
	}
	defer func() {
		took := b.o.now().Sub(start)
		b.record(Timing{Step: stepProvision, Took: took})
		b.o.logger().Info("done", "step", stepProvision, "took", took.Round(time.Millisecond))
	}()
	after, err := root.Scan(ctx, lasting, before)
	if err != nil {
		return nil, err
	}
	done := provisioned{
		changes: chroot.Compare(before, after),
		sealed:  filepath.Join(work, "sealed.tar"), changed: filepath.Join(work, "changed.tar"),
	}
	if len(done.changes) == 0 {
		return nil, nil
	}
	b.markDropped(done.changes)
	if err := root.Pack(ctx, done.sealed, nil); err != nil {
		return nil, err
	}
	return &done, root.Pack(ctx, done.changed, present(done.changes))
}

// unpack makes the root as the plan says it.
func (b *build) unpack(ctx context.Context, p pieces, work string) (chroot.Root, error) {
	if err := b.containers(ctx, p); err != nil {
		return chroot.Root{}, err
	}
	dir := b.o.RootDir
	if dir == "" {
		dir = filepath.Join(work, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return chroot.Root{}, err
		}
	}
	entries, err := b.overBase(p)
	if err != nil {
		return chroot.Root{}, err
	}
	sources, err := b.aptSources(ctx)
	if err != nil {
		return chroot.Root{}, err
	}
	t, err := tree.New(append(entries, sources))
	if err != nil {
		return chroot.Root{}, err
	}
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		w.CloseWithError(errors.Join(t.WriteTar(archive, b.plan.Recipe.Spec.Epoch), archive.Close()))
	}()
	defer r.Close()
	root, err := chroot.Unpack(ctx, chroot.UnpackOptions{
		Dir: dir, Base: p.base, Over: r, Replaced: b.plan.over(), Env: b.o.Env,
	})
	if b.o.Offline {
		root.Network = chroot.NoNetwork
	}
	return root, err
}

// overBase are all files of the root that no package has.
func (b *build) overBase(p pieces) ([]tree.Entry, error) {
	agent, err := tree.FromFile(tree.Clean(images.AgentPath), b.o.Agent, 0o755)
	if err != nil {
		return nil, err
	}
	entries := append([]tree.Entry{agent}, b.plan.Entries...)
	for _, l := range b.plan.Layers {
		more, err := b.layerEntries(l, p.made)
		if err != nil {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// aptSourcesPath is dropped from images: it is that of the build.
const aptSourcesPath = "etc/apt/sources.list"

// aptSources names the archive that the packages are from, so that more can be
// installed. There is none without a network.
func (b *build) aptSources(ctx context.Context) (tree.Entry, error) {
	e := tree.Entry{Path: aptSourcesPath, Kind: tree.File, Mode: 0o644}
	if b.o.Offline {
		return e, nil
	}
	spec := b.plan.Recipe.Spec
	mirror, err := b.o.mirror(ctx, spec)
	if err != nil {
		return tree.Entry{}, err
	}
	var list bytes.Buffer
	archive := b.o.archive(spec, mirror)
	for _, suite := range archive.Suites {
		fmt.Fprintf(&list, "deb %s %s %s\n", mirror, suite, strings.Join(archive.Components, " "))
	}
	e.Content = list.Bytes()
	return e, nil
}

// lasting drops what commands leave behind and no image has.
func lasting(p string) bool {
	for _, dir := range []string{"dev", "proc", "run", "sys", "tmp", "var/tmp", "var/cache", "var/log", "var/lib/apt"} {
		if strings.HasPrefix(p, dir+"/") {
			return false
		}
	}
	// Written by every dpkg, and dropped.
	return rootfs.Keep(p) || !strings.HasPrefix(p, "var/lib/dpkg/") && p != aptSourcesPath
}

// kept is the filter of a root in which the recipe's own files are already.
func (p Plan) kept() tree.Filter {
	own := map[string]bool{}
	for _, name := range p.over() {
		for ; name != "."; name = path.Dir(name) {
			own[name] = true
		}
	}
	for _, e := range p.Entries {
		own[e.Path] = true
	}
	return func(name string) bool { return own[name] || rootfs.Keep(name) }
}

// markDropped marks the changes that do not get into the root, and warns of
// those whose author will miss them.
func (b *build) markDropped(changes []images.Change) {
	keep := b.plan.kept()
	var enabled []string
	for i, c := range changes {
		changes[i].Dropped = !keep(tree.Clean(c.Path))
		if c.Change != images.ChangeRemoved && c.Symlink != "" && strings.Contains(c.Path, ".wants/") && changes[i].Dropped {
			enabled = append(enabled, path.Base(c.Path))
		}
	}
	if len(enabled) > 0 {
		b.o.logger().Warn("units were enabled by links, which no image keeps: presets decide on the first boot; write a file in /usr/lib/systemd/system-preset",
			"units", strings.Join(enabled, " "))
	}
}

// present are the paths of what was added or modified.
func present(changes []images.Change) []string {
	var paths []string
	for _, c := range changes {
		if c.Change != images.ChangeRemoved {
			paths = append(paths, tree.Clean(c.Path))
		}
	}
	return paths
}

// removed are the paths of what was removed.
func removed(changes []images.Change) []string {
	var paths []string
	for _, c := range changes {
		if c.Change == images.ChangeRemoved {
			paths = append(paths, tree.Clean(c.Path))
		}
	}
	return paths
}

// stepProvision is not cached: nobody knows what it depends on.
const stepProvision = "provision"

// layerProvisioned is the one layer of a root that was changed.
const layerProvisioned = "provisioned"

// Provisioned returns the plan of the image whose root was changed. It is
// another image: its ID names the changes as well.
func (p Plan) Provisioned(changes []images.Change) (Plan, error) {
	p.steps = maps.Clone(p.steps)
	steps := slices.Clone(p.Steps)
	p.Steps = nil
	for _, s := range steps {
		switch {
		case s.Name == stepBoot:
			p.step(stepBoot, s.Key, changes)
		case !strings.HasPrefix(s.Name, stepLayer):
			p.Steps = append(p.Steps, s)
		}
	}
	p.step(stepLayer+layerProvisioned, p.ID, changes)
	p.ID = source.SumJSON([]any{p.ID, changes})
	var err error
	if p.Disk, err = disk.NewLayout(p.Recipe.Spec.Disk, p.ID, 0); err != nil {
		return Plan{}, err
	}
	p.Cmdline = p.cmdline()
	return p, nil
}
