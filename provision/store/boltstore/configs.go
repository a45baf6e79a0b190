package boltstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/k8snode/k8snode/provision/store"
)

// Keep implements [store.Store].
func (s *Store) Keep(ctx context.Context, name string, config store.Sealed) (store.Sealed, error) {
	if err := ctx.Err(); err != nil {
		return store.Sealed{}, err
	}
	value, err := json.Marshal(config)
	if err != nil {
		return store.Sealed{}, err
	}
	kept := config
	err = s.db.Batch(func(tx *bbolt.Tx) error {
		kept = config
		old, err := sealed(tx, name)
		if err != nil {
			return err
		}
		if old.InstallID == config.InstallID {
			kept = old
			return nil
		}
		return tx.Bucket(configBucket()).Put([]byte(name), value)
	})
	if err != nil {
		return store.Sealed{}, fmt.Errorf("keeping a config in the store: %w", err)
	}
	return kept, nil
}

// Kept implements [store.Store].
func (s *Store) Kept(ctx context.Context, name string) (kept store.Sealed, err error) {
	if err := ctx.Err(); err != nil {
		return store.Sealed{}, err
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		kept, err = sealed(tx, name)
		return err
	})
	return kept, err
}

func sealed(tx *bbolt.Tx, name string) (store.Sealed, error) {
	var kept store.Sealed
	value := tx.Bucket(configBucket()).Get([]byte(name))
	if value == nil {
		return kept, nil
	}
	if err := json.Unmarshal(value, &kept); err != nil {
		return store.Sealed{}, fmt.Errorf("%w: reading the config of node %q: %w", ErrDamaged, name, err)
	}
	return kept, nil
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A look costs no write to the disk, and most nodes have none.
	kept, err := s.Kept(ctx, name)
	if err == nil && kept.InstallID == "" {
		return nil
	}
	err = s.db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(configBucket()).Delete([]byte(name)) })
	if err != nil {
		return fmt.Errorf("forgetting a config of the store: %w", err)
	}
	return nil
}

// Expire implements [store.Store].
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var over [][]byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(configBucket()).ForEach(func(name, value []byte) error {
			var kept store.Sealed
			if json.Unmarshal(value, &kept) != nil || kept.Expired(now) {
				over = append(over, append([]byte(nil), name...))
			}
			return nil
		})
	})
	if err == nil && len(over) > 0 {
		err = s.db.Update(func(tx *bbolt.Tx) error {
			for _, name := range over {
				// It may be a new one by now.
				if kept, err := sealed(tx, string(name)); err == nil && !kept.Expired(now) {
					continue
				}
				if err := tx.Bucket(configBucket()).Delete(name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("forgetting old configs of the store: %w", err)
	}
	return nil
}
