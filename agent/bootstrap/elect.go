package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
)

// Keys by which control planes agree. They are not below /registry, which is
// the API server's.
const (
	// clusterKey has the cluster's ID, by whoever came first.
	clusterKey = "/k8snode/cluster"
	// lockKey has the name of the node that runs kubeadm init, as long as that
	// lives.
	lockKey = "lock"
	// doneKey has the name of the node that has completed it.
	doneKey = "done"
)

// initKey is where control planes agree about kubeadm init. Each generation has
// keys of its own: after etcd was restored nobody runs an API server that could
// be joined, so that somebody has to begin again.
func (b *bootstrapper) initKey(name string) string {
	return fmt.Sprintf("/k8snode/init/%d/%s", b.opts.Config.Generation, name)
}

// lockTTL is how long a node that died in kubeadm init keeps others waiting.
const lockTTL = time.Minute

// A Store is etcd as the election needs it.
type Store interface {
	Get(ctx context.Context, key string) (value string, found bool, err error)
	Create(ctx context.Context, key, value string) (string, error)
	Members(ctx context.Context) ([]etcd.Member, error)
	// Lock returns an error that wraps etcd.ErrHeld if another node holds it.
	Lock(ctx context.Context, key, value string, ttl time.Duration) (Lock, string, error)
	Close()
}

// A Lock is held until it is released, or lost.
type Lock interface {
	Lost() <-chan struct{}
	Release()
}

// etcdStore is the node's own member, with the certificate of its API server.
// They are read where the node's config put them: kubeadm's folder may be
// empty.
type etcdStore struct{ *etcd.Client }

func (s etcdStore) Lock(ctx context.Context, key, value string, ttl time.Duration) (Lock, string, error) {
	lock, holder, err := s.Client.Lock(ctx, key, value, ttl)
	if err != nil {
		return nil, holder, err
	}
	return lock, holder, nil
}

func connect(opts Options) (Store, error) {
	pki := filepath.Join("/", opts.Root, node.PKIDir)
	dial := etcd.NodeFiles(pki, "apiserver-etcd-client")
	dial.CA = filepath.Join(pki, "etcd/ca.crt")
	dial.Endpoints = []string{node.Main.ClientURL(opts.Config.Address)}
	client, err := etcd.Dial(dial)
	if err != nil {
		return nil, err
	}
	return etcdStore{client}, nil
}

// elect returns whether there is a cluster to join; if there is none, this node
// holds the lock of kubeadm init. It waits while another node does.
func (b *bootstrapper) elect(ctx context.Context) (initialised bool, lock Lock, err error) {
	if err := b.fence(ctx); err != nil {
		return false, nil, err
	}
	said := ""
	for {
		by, done, err := b.get(ctx, b.initKey(doneKey))
		if err != nil {
			return false, nil, err
		}
		if done {
			alone, err := b.alone(ctx)
			if err != nil {
				return false, nil, err
			}
			if !alone {
				b.opts.Log.Info("cluster is initialised", "by", by)
				return true, nil, nil
			}
			b.opts.Log.Info("cluster is initialised, and this is its only control plane: it begins upon the data", "by", by)
		}
		before := done
		lock, holder, err := b.lock(ctx)
		switch {
		case err == nil:
			// Its last holder may have been done between the two questions.
			if _, done, err = b.get(ctx, b.initKey(doneKey)); err != nil || done && !before {
				lock.Release()
				return done, nil, err
			}
			return false, lock, nil
		case !errors.Is(err, etcd.ErrHeld):
			return false, nil, err
		}
		if holder != said {
			b.opts.Log.Info("another control plane runs kubeadm init", "node", holder)
			said = holder
		}
		retry.Sleep(ctx, b.opts.ElectPause)
		if ctx.Err() != nil {
			return false, nil, fmt.Errorf("waiting for kubeadm init of %s: %w", holder, context.Cause(ctx))
		}
	}
}

// alone reports whether this node has the only vote in etcd. Then it was installed
// around its data, and nobody runs an API server that it could join: every control
// plane has a member.
func (b *bootstrapper) alone(ctx context.Context) (bool, error) {
	var members []etcd.Member
	err := retry.Do(ctx, b.opts.Retry, func(ctx context.Context) (err error) {
		members, err = b.store.Members(ctx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("asking etcd for its members: %w", err)
	}
	voters := 0
	for _, m := range members {
		if !m.Learner {
			voters++
		}
	}
	return voters == 1, nil
}

// fence refuses an etcd that is another cluster's.
func (b *bootstrapper) fence(ctx context.Context) error {
	var id string
	err := retry.Do(ctx, b.opts.Retry, func(ctx context.Context) (err error) {
		id, err = b.store.Create(ctx, clusterKey, b.opts.Config.ClusterID)
		return err
	})
	if err != nil {
		return fmt.Errorf("asking etcd which cluster it is: %w", err)
	}
	if id != b.opts.Config.ClusterID {
		return fmt.Errorf("etcd is that of the cluster %s, and this node belongs to %s: install it again", id, b.opts.Config.ClusterID)
	}
	return nil
}

// get asks with retries: the member may have lost its leader for a moment.
func (b *bootstrapper) get(ctx context.Context, key string) (value string, found bool, err error) {
	err = retry.Do(ctx, b.opts.Retry, func(ctx context.Context) (err error) {
		value, found, err = b.store.Get(ctx, key)
		return err
	})
	return value, found, err
}

func (b *bootstrapper) lock(ctx context.Context) (lock Lock, holder string, err error) {
	err = retry.Do(ctx, b.opts.Retry, func(ctx context.Context) (err error) {
		lock, holder, err = b.store.Lock(ctx, b.initKey(lockKey), b.opts.Config.Name, lockTTL)
		if errors.Is(err, etcd.ErrHeld) {
			return retry.Permanent(err)
		}
		return err
	})
	return lock, holder, err
}

// initialised tells the others that they may join.
func (b *bootstrapper) initialised(ctx context.Context) error {
	return retry.Do(ctx, b.opts.Retry, func(ctx context.Context) error {
		_, err := b.store.Create(ctx, b.initKey(doneKey), b.opts.Config.Name)
		return err
	})
}
