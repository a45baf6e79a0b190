package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Get returns the value of a key, and whether there is one.
func (c *Client) Get(ctx context.Context, key string) (value string, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.Get(ctx, key)
	if err != nil {
		return "", false, fmt.Errorf("reading %s in etcd: %w", key, err)
	}
	if answer.Header == nil {
		return "", false, fmt.Errorf("reading %s in etcd: the answer has no header", key)
	}
	if len(answer.Kvs) == 0 {
		return "", false, nil
	}
	return string(answer.Kvs[0].Value), true, nil
}

// Create writes a key that does not exist, and returns the value that the key
// has: the one given, or that of whoever was first.
func (c *Client) Create(ctx context.Context, key, value string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.create(ctx, key, value)
}

func (c *Client) create(ctx context.Context, key, value string, opts ...clientv3.OpOption) (string, error) {
	answer, err := c.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, opts...)).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return "", fmt.Errorf("creating %s in etcd: %w", key, err)
	}
	if answer.Succeeded {
		return value, nil
	}
	kvs := answer.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return "", fmt.Errorf("creating %s in etcd: it is neither free nor there", key)
	}
	return string(kvs[0].Value), nil
}

// A Lock is a key that goes away when its holder does.
type Lock struct {
	client *Client
	lease  clientv3.LeaseID
	stop   context.CancelFunc
	lost   chan struct{}
}

// ErrHeld is wrapped when somebody else holds a lock.
var ErrHeld = errors.New("lock is held")

// Lock takes a lock for as long as this program lives, and ttl longer at most.
// The error wraps ErrHeld if somebody else has it; the holder is the value
// that they gave.
func (c *Client) Lock(ctx context.Context, key, value string, ttl time.Duration) (lock *Lock, holder string, err error) {
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	lease, err := c.client.Grant(call, int64(ttl/time.Second))
	if err != nil {
		return nil, "", fmt.Errorf("locking %s in etcd: %w", key, err)
	}
	holder, err = c.create(call, key, value, clientv3.WithLease(lease.ID))
	if err != nil || holder != value {
		c.revoke(lease.ID)
		if err == nil {
			err = fmt.Errorf("locking %s in etcd: %w by %s", key, ErrHeld, holder)
		}
		return nil, holder, err
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept, err := c.client.KeepAlive(alive, lease.ID)
	if err != nil {
		stop()
		c.revoke(lease.ID)
		return nil, "", fmt.Errorf("locking %s in etcd: %w", key, err)
	}
	lock = &Lock{client: c, lease: lease.ID, stop: stop, lost: make(chan struct{})}
	go func() {
		defer close(lock.lost)
		for range kept { // It ends when the lease is gone, or stop was called.
		}
	}()
	return lock, holder, nil
}

// Lost is closed when the lock is no longer held.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Release gives the lock back.
func (l *Lock) Release() {
	l.stop()
	l.client.revoke(l.lease)
}

// revoke does what the end of the lease would do anyway, only sooner.
func (c *Client) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	_, _ = c.client.Revoke(ctx, lease)
}
