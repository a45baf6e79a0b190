package etcdstore

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

const (
	// format is that of the keys and values. It is raised when an older k8snode
	// would misread them.
	format = 1
	// DefaultCallTimeout is longer than an election.
	DefaultCallTimeout = 5 * time.Second
	// batch is how many nodes are added at once: etcd allows 128 operations in a
	// transaction.
	batch = 100
)

// ErrDamaged is wrapped by the error of a value that cannot be read.
var ErrDamaged = errors.New("the store is damaged")

// Options of [Open].
type Options struct {
	Address
	// ClusterID is that of the secrets.
	ClusterID string
	// Config of the connection, when the address asks for TLS.
	Config *tls.Config
	// CallTimeout bounds one call; zero means DefaultCallTimeout.
	CallTimeout time.Duration
}

// A Store is a store.Store in etcd.
type Store struct {
	client  *clientv3.Client
	prefix  string
	timeout time.Duration
}

var _ store.Store = (*Store)(nil)

// meta says what is below a prefix.
type meta struct {
	Format int `json:"format"`
	// ClusterID is that of the secrets.
	ClusterID string `json:"clusterID"`
}

// Open connects to the store of a cluster, or makes it. Close must be called.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.CallTimeout <= 0 {
		opts.CallTimeout = DefaultCallTimeout
	}
	if opts.TLS && opts.Config == nil {
		return nil, errors.New("opening the store in etcd: its address asks for TLS, and there are no certificates")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: opts.Endpoints, TLS: opts.Config, DialTimeout: opts.CallTimeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		// What it has to say, its errors say.
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to the store in etcd: %w", err)
	}
	s := &Store{client, opts.Prefix, opts.CallTimeout}
	if err := s.own(ctx, opts.ClusterID); err != nil {
		err = errors.Join(err, s.Close())
		return nil, fmt.Errorf("opening the store in etcd, %s%s: %w", strings.Join(opts.Endpoints, ","), opts.Prefix, err)
	}
	return s, nil
}

// own says whose the store is, or checks it: of servers that come at the same
// time, the first decides.
func (s *Store) own(ctx context.Context, clusterID string) error {
	value, err := json.Marshal(meta{format, clusterID})
	if err != nil {
		return err
	}
	ctx, cancel := s.call(ctx)
	defer cancel()
	key := s.prefix + "/store"
	answer, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil || answer.Succeeded {
		return err
	}
	var m meta
	if err := json.Unmarshal(answer.Responses[0].GetResponseRange().Kvs[0].Value, &m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	switch {
	case m.Format > format:
		return fmt.Errorf("it has format %d, and this k8snode knows %d: use a newer k8snode", m.Format, format)
	case m.ClusterID != clusterID:
		return fmt.Errorf("it is that of the cluster %s, and the secrets are those of %s: name another prefix", m.ClusterID, clusterID)
	}
	return nil
}

// Close hangs up.
func (s *Store) Close() error { return s.client.Close() }

// call bounds a call. A member that is alone says so at once.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	return clientv3.WithRequireLeader(ctx), cancel
}

func (s *Store) nodeKey(name string) string   { return s.prefix + "/nodes/" + name }
func (s *Store) configKey(name string) string { return s.prefix + "/configs/" + name }

// Add implements [store.Store].
func (s *Store) Add(ctx context.Context, names ...string) error {
	known, err := s.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("adding nodes to the store: %w", err)
	}
	has := make(map[string]bool, len(known))
	for _, n := range known {
		has[n.Name] = true
	}
	var missing []clientv3.Op
	for _, name := range names {
		if has[name] {
			continue
		}
		value, err := json.Marshal(store.Node{Name: name, Phase: api.PhaseRegistered, Reached: api.PhaseRegistered})
		if err != nil {
			return err
		}
		has[name] = true
		key := s.nodeKey(name)
		missing = append(missing, clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, []clientv3.Op{clientv3.OpPut(key, string(value))}, nil))
	}
	for len(missing) > 0 {
		n := min(len(missing), batch)
		if err := s.commit(ctx, missing[:n]); err != nil {
			return fmt.Errorf("adding nodes to the store: %w", err)
		}
		missing = missing[n:]
	}
	return nil
}

func (s *Store) commit(ctx context.Context, ops []clientv3.Op) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	_, err := s.client.Txn(ctx).Then(ops...).Commit()
	return err
}

// Nodes implements [store.Store]: etcd sorts by key, which ends in the name.
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	answer, err := s.client.Get(ctx, s.nodeKey(""), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("reading the nodes of the store: %w", err)
	}
	nodes := make([]store.Node, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		n, err := s.decode(kv.Key, kv.Value)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func (s *Store) decode(key, value []byte) (store.Node, error) {
	var n store.Node
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("%w: reading %s: %w", ErrDamaged, key, err)
	}
	if s.nodeKey(n.Name) != string(key) {
		return n, fmt.Errorf("%w: %s says that it is node %q", ErrDamaged, key, n.Name)
	}
	return n, nil
}

// Node implements [store.Store].
func (s *Store) Node(ctx context.Context, name string) (store.Node, error) {
	n, _, err := s.read(ctx, name)
	return n, err
}

// read returns a node, and the revision of its last change.
func (s *Store) read(ctx context.Context, name string) (store.Node, int64, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	answer, err := s.client.Get(ctx, s.nodeKey(name))
	if err != nil {
		return store.Node{}, 0, fmt.Errorf("reading a node of the store: %w", err)
	}
	if len(answer.Kvs) == 0 {
		return store.Node{}, 0, fmt.Errorf("%w %q", store.ErrUnknownNode, name)
	}
	n, err := s.decode(answer.Kvs[0].Key, answer.Kvs[0].Value)
	return n, answer.Kvs[0].ModRevision, err
}

// Update implements [store.Store]. It tries again only when somebody else was
// faster: then somebody gets on.
func (s *Store) Update(ctx context.Context, name string, change func(*store.Node) error) (store.Node, error) {
	for {
		n, revision, err := s.read(ctx, name)
		if err != nil {
			return store.Node{}, err
		}
		if err := change(&n); err != nil {
			return store.Node{}, err
		}
		n.Name = name
		value, err := json.Marshal(n)
		if err != nil {
			return store.Node{}, err
		}
		done, err := s.swap(ctx, s.nodeKey(name), revision, value)
		if err != nil {
			return store.Node{}, fmt.Errorf("changing a node of the store: %w", err)
		}
		if done {
			// As it will be read: the caller's own.
			return s.decode([]byte(s.nodeKey(name)), value)
		}
	}
}

// swap writes a value unless its key was changed since a revision; that of a key
// that does not exist is 0.
func (s *Store) swap(ctx context.Context, key string, revision int64, value []byte) (bool, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	answer, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, string(value))).
		Commit()
	if err != nil {
		return false, err
	}
	return answer.Succeeded, nil
}
