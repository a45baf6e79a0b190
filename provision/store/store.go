package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sort"
	"sync"
	"time"

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
	// Node returns one node. A name without a node is an error wrapping
	// [ErrUnknownNode].
	Node(ctx context.Context, name string) (Node, error)
	// Update changes one node atomically and returns it as changed. It may
	// call change several times, each time with the node as it is then; what
	// change did in earlier calls is lost. When change returns an error, the
	// node stays as it was and Update returns that error. A name without a
	// node is an error wrapping [ErrUnknownNode].
	Update(ctx context.Context, name string, change func(*Node) error) (Node, error)

	// Keep keeps the config of a node's install, and returns the one that is kept:
	// of several for one install the first, whoever asks. It replaces that of
	// another install.
	Keep(ctx context.Context, name string, config Sealed) (Sealed, error)
	// Kept returns the config that is kept for a node, or the zero value.
	Kept(ctx context.Context, name string) (Sealed, error)
	// Forget forgets the config of a node, if there is one.
	Forget(ctx context.Context, name string) error
	// Expire forgets every config whose time is over.
	Expire(ctx context.Context, now time.Time) error
}

// Sealed is a rendered config that only the holder of a token can read. It is
// kept so that a second server, or one that was started again, sends the same
// bytes.
type Sealed struct {
	InstallID string `json:"installID"`
	// Report is the SHA-256 of the report token in the config, as in a
	// [Credential].
	Report string `json:"report"`
	// Until is when nobody may ask for it any more.
	Until time.Time `json:"until"`
	Box   []byte    `json:"box"`
}

// Memory is a Store that lives as long as the process. Its zero value is
// empty and ready.
type Memory struct {
	mu      sync.Mutex
	nodes   map[string]Node
	configs map[string]Sealed
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
			m.nodes[name] = Node{Name: name, Phase: api.PhaseRegistered, Reached: api.PhaseRegistered}
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

// Node implements [Store].
func (m *Memory) Node(_ context.Context, name string) (Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[name]
	if !ok {
		return Node{}, fmt.Errorf("%w %q", ErrUnknownNode, name)
	}
	return n, nil
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

// Keep implements [Store].
func (m *Memory) Keep(_ context.Context, name string, config Sealed) (Sealed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.configs == nil {
		m.configs = make(map[string]Sealed)
	}
	if kept, ok := m.configs[name]; ok && kept.InstallID == config.InstallID {
		return kept.clone(), nil
	}
	m.configs[name] = config.clone()
	return config, nil
}

// Kept implements [Store].
func (m *Memory) Kept(_ context.Context, name string) (Sealed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.configs[name].clone(), nil
}

// Forget implements [Store].
func (m *Memory) Forget(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.configs, name)
	return nil
}

// Expire implements [Store].
func (m *Memory) Expire(_ context.Context, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.configs, func(_ string, s Sealed) bool { return s.Expired(now) })
	return nil
}

// Expired reports whether nobody may ask for the config any more.
func (s Sealed) Expired(now time.Time) bool { return !now.Before(s.Until) }

func (s Sealed) clone() Sealed {
	s.Box = bytes.Clone(s.Box)
	return s
}
