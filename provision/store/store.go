package store

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/k8snode/k8snode/provision/api"
)

// ErrUnknownNode is wrapped by the error of every call for a node that was
// not added.
var ErrUnknownNode = errors.New("unknown node")

// A Store keeps nodes. It is safe for concurrent use, and the values that it
// returns are the caller's own.
type Store interface {
	// Add makes a closed node of every name that has none yet, and leaves the
	// others as they are.
	Add(ctx context.Context, names ...string) error
	// Nodes returns every node, sorted by name.
	Nodes(ctx context.Context) ([]Node, error)
	// Update changes one node atomically and returns it as changed. It may
	// call change several times, each time with the node as it is then; what
	// change did in earlier calls is lost. When change returns an error, the
	// node stays as it was and Update returns that error. A name without a
	// node is an error wrapping [ErrUnknownNode].
	Update(ctx context.Context, name string, change func(*Node) error) (Node, error)
}

// Memory is a Store that lives as long as the process. Its zero value is
// empty and ready.
type Memory struct {
	mu    sync.Mutex
	nodes map[string]Node
}

var _ Store = (*Memory)(nil)

// Add implements [Store].
func (m *Memory) Add(_ context.Context, names ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes == nil {
		m.nodes = make(map[string]Node)
	}
	for _, name := range names {
		if _, ok := m.nodes[name]; !ok {
			m.nodes[name] = Node{Name: name, Phase: api.PhaseClosed, Reached: api.PhaseClosed}
		}
	}
	return nil
}

// Nodes implements [Store].
func (m *Memory) Nodes(context.Context) ([]Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	nodes := make([]Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		nodes = append(nodes, n)
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].Name < nodes[j].Name })
	return nodes, nil
}

// Update implements [Store].
func (m *Memory) Update(_ context.Context, name string, change func(*Node) error) (Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[name]
	if !ok {
		return Node{}, fmt.Errorf("%w %q", ErrUnknownNode, name)
	}
	if err := change(&n); err != nil {
		return Node{}, err
	}
	m.nodes[name] = n
	return n, nil
}
