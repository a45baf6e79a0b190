package boltstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

const (
	// format is that of the file. It is raised when an older k8snode would
	// misread it.
	format = 1
	// lockTimeout is how long a server that is stopping may take.
	lockTimeout = 5 * time.Second
	// batchDelay is how long a change waits for others: one write to the disk for
	// all of them.
	batchDelay = 2 * time.Millisecond
)

// Errors of Open.
var (
	// ErrInUse: another process has the file.
	ErrInUse = errors.New("another server uses it")
	// ErrDamaged: the file is none, or not whole.
	ErrDamaged = errors.New("it is damaged")
)

// The buckets and the keys in them.
func metaBucket() []byte   { return []byte("meta") }
func metaKey() []byte      { return []byte("file") }
func nodeBucket() []byte   { return []byte("nodes") }
func configBucket() []byte { return []byte("configs") }

// meta says what the file is.
type meta struct {
	Format int `json:"format"`
	// ClusterID is that of the secrets.
	ClusterID string `json:"clusterID"`
}

// A Store is a store.Store in a file.
type Store struct {
	db *bbolt.DB
}

var _ store.Store = (*Store)(nil)

// Open opens the file of a cluster, or makes it. Close must be called.
func Open(path, clusterID string) (*Store, error) {
	s, err := open(path, clusterID)
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	return s, nil
}

func open(path, clusterID string) (*Store, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path, clusterID); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case info.Size() == 0:
		// bbolt would take it for a new one.
		return nil, fmt.Errorf("%w: it is empty; %s", ErrDamaged, remedy)
	}
	db, err := bolt(path)
	if err != nil {
		return nil, err
	}
	if err := check(db, clusterID); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// A file of an older k8snode has none.
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(configBucket())
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db}, nil
}

const remedy = "restore a copy, or move it away to begin with closed nodes"

// bolt opens a file. What bbolt panics about is an error of the file.
func bolt(path string) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %v; %s", ErrDamaged, p, remedy)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case err != nil:
		var path *fs.PathError
		if errors.As(err, &path) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w; %s", ErrDamaged, err, remedy)
	}
	db.MaxBatchDelay = batchDelay
	return db, nil
}

// create makes a file beside its name and renames it: a power cut leaves no half of
// one.
func create(path, clusterID string) error {
	partial := path + ".new"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt(partial)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket(), nodeBucket()} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		value, err := json.Marshal(meta{format, clusterID})
		if err != nil {
			return err
		}
		return tx.Bucket(metaBucket()).Put(metaKey(), value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	// Link, not rename: it fails where somebody else was faster.
	if err := os.Link(partial, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Remove(partial); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// check reads the whole file once.
func check(db *bbolt.DB, clusterID string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v; %s", ErrDamaged, p, remedy)
		}
	}()
	return db.View(func(tx *bbolt.Tx) error {
		var problems []error
		for problem := range tx.Check() {
			problems = append(problems, problem)
		}
		if err := errors.Join(problems...); err != nil {
			return fmt.Errorf("%w: %w; %s", ErrDamaged, err, remedy)
		}
		if tx.Bucket(metaBucket()) == nil || tx.Bucket(nodeBucket()) == nil {
			return fmt.Errorf("%w: it is a file of bbolt, and none of k8snode", ErrDamaged)
		}
		var m meta
		if err := json.Unmarshal(tx.Bucket(metaBucket()).Get(metaKey()), &m); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		switch {
		case m.Format > format:
			return fmt.Errorf("it has format %d, and this k8snode knows %d: use a newer k8snode", m.Format, format)
		case m.ClusterID != clusterID:
			return fmt.Errorf("it is that of the cluster %s, and the secrets are those of %s: name another folder", m.ClusterID, clusterID)
		}
		return each(tx, func(store.Node) {})
	})
}

func each(tx *bbolt.Tx, do func(store.Node)) error {
	return tx.Bucket(nodeBucket()).ForEach(func(name, value []byte) error {
		n, err := decode(name, value)
		if err != nil {
			return err
		}
		do(n)
		return nil
	})
}

func decode(name, value []byte) (store.Node, error) {
	var n store.Node
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("%w: reading node %q: %w", ErrDamaged, name, err)
	}
	if n.Name != string(name) {
		return n, fmt.Errorf("%w: node %q says that it is %q", ErrDamaged, name, n.Name)
	}
	return n, nil
}

func put(tx *bbolt.Tx, n store.Node) error {
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.Bucket(nodeBucket()).Put([]byte(n.Name), value)
}

// Close gives the file back.
func (s *Store) Close() error { return s.db.Close() }

// Add implements [store.Store].
func (s *Store) Add(ctx context.Context, names ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range names {
			if tx.Bucket(nodeBucket()).Get([]byte(name)) != nil {
				continue
			}
			if err := put(tx, store.Node{Name: name, Phase: api.PhaseRegistered, Reached: api.PhaseRegistered}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding nodes to the store: %w", err)
	}
	return nil
}

// Nodes implements [store.Store]: bbolt sorts by key, which is the name.
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var nodes []store.Node
	err := s.db.View(func(tx *bbolt.Tx) error {
		return each(tx, func(n store.Node) { nodes = append(nodes, n) })
	})
	if err != nil {
		return nil, fmt.Errorf("reading the nodes of the store: %w", err)
	}
	return nodes, nil
}

// Node implements [store.Store].
func (s *Store) Node(ctx context.Context, name string) (store.Node, error) {
	if err := ctx.Err(); err != nil {
		return store.Node{}, err
	}
	var n store.Node
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		value := tx.Bucket(nodeBucket()).Get([]byte(name))
		if value == nil {
			return fmt.Errorf("%w %q", store.ErrUnknownNode, name)
		}
		n, err = decode([]byte(name), value)
		return err
	})
	return n, err
}

// Update implements [store.Store]. Changes at the same time share one write.
func (s *Store) Update(ctx context.Context, name string, change func(*store.Node) error) (store.Node, error) {
	if err := ctx.Err(); err != nil {
		return store.Node{}, err
	}
	var updated store.Node
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		value := tx.Bucket(nodeBucket()).Get([]byte(name))
		if value == nil {
			return fmt.Errorf("%w %q", store.ErrUnknownNode, name)
		}
		n, err := decode([]byte(name), value)
		if err != nil {
			return err
		}
		if err := change(&n); err != nil {
			return err
		}
		updated = n
		return put(tx, n)
	})
	if err != nil {
		return store.Node{}, err
	}
	return updated, nil
}
