package layerfs

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// AssembleOptions describe the file system.
type AssembleOptions struct {
	// Epoch is its time of creation, and the modification time of the root
	// folder.
	Epoch time.Time
}

// Assemble writes the file system that the layers make, the lowest first, to
// f, an empty file. A folder that several layers have is the lowest's. Its
// size is a multiple of 4096 bytes.
func Assemble(ctx context.Context, f *os.File, layers []*Layer, o AssembleOptions) error {
	t, err := merge(layers, o)
	if err != nil {
		return fmt.Errorf("assembling the layers: %w", err)
	}
	w := &writer{file: f, at: superblockSize, epoch: uint32(o.Epoch.Unix())} //nolint:gosec // the recipe's epoch ends in 2106
	if err := w.copyData(ctx, layers, t); err != nil {
		return fmt.Errorf("copying the layers: %w", err)
	}
	if err := w.writeTables(t); err != nil {
		return fmt.Errorf("writing the tables: %w", err)
	}
	return nil
}

// An inode is a node in the merged tree.
type inode struct {
	node
	number   uint32
	links    uint32
	children []*entry // of a folder, sorted by name
	parent   *inode
	// written says that ref is where the inode is.
	written bool
	ref     uint64
	// xattrKey is the content of its set of attributes, empty for none.
	xattrKey string
}

// An entry is a name in a folder.
type entry struct {
	name  string
	inode *inode
}

// merge returns the root of the merged tree.
func merge(layers []*Layer, o AssembleOptions) (*inode, error) {
	type owned struct {
		node
		layer int
	}
	all := map[string]owned{}
	epoch := uint32(o.Epoch.Unix()) //nolint:gosec // the recipe's epoch ends in 2106
	var fragments int
	for i, l := range layers {
		for _, n := range l.index.Nodes {
			if under, ok := all[n.Path]; ok {
				if under.Kind == dir && n.Kind == dir {
					continue
				}
				return nil, fmt.Errorf("/%s of %q hides the one of %q: pack that without it", n.Path, l.name, layers[under.layer].name)
			}
			if n.Fragment > 0 {
				n.Fragment += fragments
			}
			all[n.Path] = owned{n, i}
		}
		fragments += len(l.index.Fragments)
	}
	paths := slices.Collect(maps.Keys(all))
	for _, p := range paths {
		for p = above(p); p != ""; p = above(p) {
			if _, ok := all[p]; ok {
				break
			}
			all[p] = owned{node: node{Path: p, Kind: dir, Mode: 0o755, MTime: epoch}}
		}
	}
	paths = slices.Collect(maps.Keys(all))
	// A folder sorts before what is in it.
	slices.Sort(paths)

	root := &inode{node: node{Kind: dir, Mode: 0o755, MTime: epoch}, number: 1, links: 2}
	root.parent = root
	inodes := map[string]*inode{"": root}
	for _, p := range paths {
		n := all[p]
		if n.Kind == hardLink {
			continue
		}
		i := &inode{node: n.node, number: uint32(len(inodes) + 1), links: 1} //nolint:gosec // checked by the tables
		inodes[p] = i
	}
	for _, p := range paths {
		n := all[p].node
		i := inodes[p]
		if n.Kind == hardLink {
			if i = inodes[n.Target]; i == nil || i.Kind == dir {
				return nil, fmt.Errorf("/%s is a link to /%s, which is not there", p, n.Target)
			}
			i.links++
		}
		parent := inodes[above(p)]
		if parent == nil || parent.Kind != dir {
			return nil, fmt.Errorf("/%s is below /%s, which is no folder", p, above(p))
		}
		name := path.Base(p)
		if len(name) > 256 {
			return nil, fmt.Errorf("/%s: the name is longer than 256 bytes", p)
		}
		if i.Kind == dir {
			i.parent, i.links = parent, 2
			parent.links++
		}
		parent.children = append(parent.children, &entry{name, i})
	}
	for _, i := range inodes {
		slices.SortFunc(i.children, func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	}
	root.Size = int64(len(inodes))
	return root, nil
}

// above returns the folder that a path is in, "" for the root.
func above(p string) string {
	return p[:max(0, strings.LastIndexByte(p, '/'))]
}

// copyData copies the layers' data and moves the addresses in the tree.
func (w *writer) copyData(ctx context.Context, layers []*Layer, root *inode) error {
	starts := map[string]int64{}
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, n := range l.index.Nodes {
			if len(n.Blocks) > 0 {
				starts[n.Path] = w.at
			}
		}
		for _, f := range l.index.Fragments {
			w.fragments = append(w.fragments, fragment{Start: f.Start + w.at, Size: f.Size})
		}
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := w.file.Seek(w.at, io.SeekStart); err != nil {
			return err
		}
		// From file to file the kernel copies.
		if _, err := io.CopyN(w.file, l.file, l.data); err != nil {
			return fmt.Errorf("copying %d bytes of %q: %w", l.data, l.name, err)
		}
		w.at += l.data
	}
	root.walk(func(i *inode) {
		if len(i.Blocks) > 0 {
			i.Start += starts[i.Path]
		}
	})
	return nil
}

// walk calls f for every inode once.
func (i *inode) walk(f func(*inode)) {
	seen := map[*inode]bool{}
	var visit func(*inode)
	visit = func(i *inode) {
		if seen[i] {
			return
		}
		seen[i] = true
		f(i)
		for _, e := range i.children {
			visit(e.inode)
		}
	}
	visit(i)
}

// checkCount refuses what 32 bits do not count.
func checkCount(what string, n, most int) error {
	if n > most || n > math.MaxInt32 {
		return fmt.Errorf("%d %s: a squashfs holds %d", n, what, most)
	}
	return nil
}
