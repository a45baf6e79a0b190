package etcdguard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
)

// A Promoter is a voter that is asked to promote another member.
type Promoter interface {
	Peer
	Promote(ctx context.Context, id uint64) error
}

// Promote makes this node's own member one that votes, and returns when it is:
// at once, if it is already. It never touches another member. It ends with ctx
// only: a learner that has not caught up is promoted later.
func Promote(ctx context.Context, opts Options) error {
	opts = opts.withDefaults()
	if opts.Config.Etcd == nil {
		return fmt.Errorf("promoting the member of etcd: node %q has none", opts.Config.Name)
	}
	said := ""
	for {
		done, reason := promote(ctx, opts)
		if done {
			opts.Log.Info("etcd member votes")
			return nil
		}
		if reason != said {
			opts.Log.Info("etcd member does not vote yet", "reason", reason)
			said = reason
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("promoting the member of etcd: %w: %s", context.Cause(ctx), reason)
		case <-time.After(opts.Pause):
		}
	}
}

// promote asks the others first: a learner refuses to answer for the cluster.
func promote(ctx context.Context, opts Options) (done bool, reason string) {
	cfg := opts.Config.Etcd
	names := slices.Sorted(maps.Keys(cfg.Clients))
	names = append(slices.DeleteFunc(names, func(name string) bool { return name == opts.Config.Name }), opts.Config.Name)
	for _, name := range names {
		peer, err := opts.Connect(cfg.Clients[name])
		if err != nil {
			reason = name + ": " + err.Error()
			continue
		}
		done, err := promoteThrough(ctx, opts, peer)
		peer.Close()
		if done {
			return true, ""
		}
		reason = name + ": " + err.Error()
		if errors.Is(err, etcd.ErrNotReady) {
			return false, reason
		}
	}
	return false, reason
}

func promoteThrough(ctx context.Context, opts Options, peer Peer) (bool, error) {
	members, err := peer.Members(ctx)
	if err != nil {
		return false, err
	}
	self := slices.IndexFunc(members, func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, opts.Config.Etcd.PeerURL) })
	if self < 0 {
		return false, errors.New("this member is not in the cluster yet")
	}
	if !members[self].Learner {
		return true, nil
	}
	promoter, ok := peer.(Promoter)
	if !ok {
		return false, errors.New("internal error: it cannot promote")
	}
	if err := promoter.Promote(ctx, members[self].ID); err != nil {
		return false, err
	}
	return true, nil
}
