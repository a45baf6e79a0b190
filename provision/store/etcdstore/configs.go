package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/k8snode/k8snode/provision/store"
)

// Keep implements [store.Store].
func (s *Store) Keep(ctx context.Context, name string, config store.Sealed) (store.Sealed, error) {
	value, err := json.Marshal(config)
	if err != nil {
		return store.Sealed{}, err
	}
	for {
		kept, revision, err := s.kept(ctx, name)
		if err != nil {
			return store.Sealed{}, fmt.Errorf("keeping a config in the store: %w", err)
		}
		if kept.InstallID == config.InstallID {
			return kept, nil
		}
		done, err := s.swap(ctx, s.configKey(name), revision, value)
		if err != nil {
			return store.Sealed{}, fmt.Errorf("keeping a config in the store: %w", err)
		}
		if done {
			return config, nil
		}
	}
}

// Kept implements [store.Store].
func (s *Store) Kept(ctx context.Context, name string) (store.Sealed, error) {
	kept, _, err := s.kept(ctx, name)
	if err != nil {
		return store.Sealed{}, fmt.Errorf("reading a config of the store: %w", err)
	}
	return kept, nil
}

// kept returns a config and the revision of its last change, zero values when
// there is none.
func (s *Store) kept(ctx context.Context, name string) (store.Sealed, int64, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	answer, err := s.client.Get(ctx, s.configKey(name))
	if err != nil || len(answer.Kvs) == 0 {
		return store.Sealed{}, 0, err
	}
	var kept store.Sealed
	if err := json.Unmarshal(answer.Kvs[0].Value, &kept); err != nil {
		return store.Sealed{}, 0, fmt.Errorf("%w: reading %s: %w", ErrDamaged, answer.Kvs[0].Key, err)
	}
	return kept, answer.Kvs[0].ModRevision, nil
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, name string) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.configKey(name)); err != nil {
		return fmt.Errorf("forgetting a config of the store: %w", err)
	}
	return nil
}

// Expire implements [store.Store].
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	if err := s.expire(ctx, now); err != nil {
		return fmt.Errorf("forgetting old configs of the store: %w", err)
	}
	return nil
}

func (s *Store) expire(ctx context.Context, now time.Time) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	answer, err := s.client.Get(ctx, s.configKey(""), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range answer.Kvs {
		var kept store.Sealed
		if json.Unmarshal(kv.Value, &kept) == nil && !kept.Expired(now) {
			continue
		}
		// Unless it is a new one by now.
		key := string(kv.Key)
		_, err := s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).
			Then(clientv3.OpDelete(key)).
			Commit()
		if err != nil {
			return err
		}
	}
	return nil
}
