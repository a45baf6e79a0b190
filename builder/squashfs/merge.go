package squashfs

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// An inode is what one or more names stand for.
type inode struct {
	record
	layer  int
	number uint32
	links  uint32 // names, or for a folder what st_nlink says
	xattr  uint32

	written bool
	ref     inodeRef
}

// A node is a name in the merged tree.
type node struct {
	*inode
	name     string
	parent   *node
	children map[string]*node
	sorted   []*node // children by name
}

// merger lays layers over each other.
type merger struct {
	root  *node
	nodes map[string]*node
	files []*inode // those with data
}

// merge returns the tree of the layers and its inodes, which are numbered in the
// order of a walk.
func merge(layers []*Layer) (*node, []*inode, error) {
	m := &merger{root: newFolder("", nil), nodes: map[string]*node{}}
	m.nodes["."] = m.root
	for i, l := range layers {
		inodes := make([]*inode, len(l.index.records))
		for n, r := range l.index.records {
			if r.kind != HardLink {
				inodes[n] = &inode{record: r, layer: i}
			}
		}
		for n, r := range l.index.records {
			in := inodes[n]
			if r.kind == HardLink {
				in = inodes[r.link]
			} else if r.size > 0 {
				m.files = append(m.files, in)
			}
			m.add(r.path, in)
		}
	}
	inodes := m.root.number(nil)
	if int64(len(inodes)) >= none {
		return nil, nil, fmt.Errorf("there are %d inodes", len(inodes))
	}
	// What is above the root is no inode; mksquashfs gives it this number.
	m.root.parent = &node{inode: &inode{number: uint32(len(inodes) + 1)}}
	return m.root, inodes, m.checkUsed()
}

func newFolder(name string, parent *node) *node {
	return &node{
		inode: &inode{record: record{kind: Directory, mode: 0o755}},
		name:  name, parent: parent, children: map[string]*node{},
	}
}

// folder returns the folder at p, made if need be. Something else at p that an
// earlier layer left gives way; one layer has no such contradiction, Pack has
// seen to that.
func (m *merger) folder(p string) *node {
	if n := m.nodes[p]; n != nil && n.kind == Directory {
		return n
	}
	n := newFolder(path.Base(p), m.folder(path.Dir(p)))
	m.put(p, n)
	return n
}

func (m *merger) add(p string, in *inode) {
	old := m.nodes[p]
	if old != nil && old.kind == Directory && in.kind == Directory {
		return // the earlier owner and mode stay
	}
	n := &node{inode: in, name: path.Base(p), parent: m.folder(path.Dir(p))}
	if in.kind == Directory {
		n.children = map[string]*node{}
	}
	m.put(p, n)
}

// put places a node and forgets what was there, with all below it.
func (m *merger) put(p string, n *node) {
	if old := m.nodes[p]; old != nil {
		m.forget(p, old)
	}
	n.parent.children[n.name] = n
	m.nodes[p] = n
}

func (m *merger) forget(p string, n *node) {
	delete(m.nodes, p)
	for name, child := range n.children {
		m.forget(path.Join(p, name), child)
	}
}

// number counts inodes and links from the root down, names in order.
func (n *node) number(inodes []*inode) []*inode {
	if n.inode.number == 0 {
		inodes = append(inodes, n.inode)
		n.inode.number = uint32(len(inodes))
	}
	if n.kind != Directory {
		n.links++
		return inodes
	}
	n.links = 2
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		n.sorted = append(n.sorted, child)
		if child.kind == Directory {
			n.links++
		}
		inodes = child.number(inodes)
	}
	return inodes
}

// ErrReplaced says that a layer has data of files that a later layer replaces.
var ErrReplaced = errors.New("their data would be dead weight; pack the earlier layer with the filter of Beneath")

// checkUsed sees that all data has a name.
func (m *merger) checkUsed() error {
	var dead []string
	for _, f := range m.files {
		if f.links == 0 {
			dead = append(dead, "/"+f.path)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	names := strings.Join(dead[:min(3, len(dead))], ", ")
	if more := len(dead) - 3; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("a later layer replaces %s: %w", names, ErrReplaced)
}
