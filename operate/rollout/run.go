package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Cluster is what a rollout changes besides nodes.
type Cluster interface {
	// SetVersion makes kubeadm install a version on nodes that join.
	SetVersion(ctx context.Context, version string) error
	// StageProxy makes new pods of kube-proxy have a version, and leaves those that run;
	// ReleaseProxy lets the pods be changed again.
	StageProxy(ctx context.Context, version string) error
	ReleaseProxy(ctx context.Context) error
}

// A Runner does what plans say. All but Begin is required.
type Runner struct {
	Cluster Cluster
	// Reimage installs a node again, or goes on with it.
	Reimage func(ctx context.Context, node string) error
	// Begin is called before a step, with what it does; nil does nothing.
	Begin func(text string)
}

// Run does what the plan says. It stops after the batch in which a node fails: the
// others of the batch are brought to their end.
func (r Runner) Run(ctx context.Context, p Plan) error {
	if r.Begin == nil {
		r.Begin = func(string) {}
	}
	lines := p.Lines()
	step := func(do func() error) error {
		r.Begin(lines[0])
		lines = lines[1:]
		return do()
	}
	if len(p.Batches) == 0 {
		// The last one may have ended just before this.
		return r.Cluster.ReleaseProxy(ctx)
	}
	if p.Version != "" {
		if err := step(func() error { return r.Cluster.SetVersion(ctx, p.Version) }); err != nil {
			return fmt.Errorf("upgrading: %w", err)
		}
		if err := step(func() error { return r.Cluster.StageProxy(ctx, p.Version) }); err != nil {
			return fmt.Errorf("upgrading: %w", err)
		}
	}
	for _, batch := range p.Batches {
		if err := step(func() error { return r.batch(ctx, batch) }); err != nil {
			return fmt.Errorf("upgrading: %w; run it again when that is mended, it goes on there", err)
		}
	}
	if p.Version == "" {
		return nil
	}
	if err := step(func() error { return r.Cluster.ReleaseProxy(ctx) }); err != nil {
		return fmt.Errorf("upgrading: %w", err)
	}
	return nil
}

func (r Runner) batch(ctx context.Context, nodes []string) error {
	failed := make([]error, len(nodes))
	var group sync.WaitGroup
	for i, name := range nodes {
		group.Go(func() { failed[i] = r.Reimage(ctx, name) })
	}
	group.Wait()
	return errors.Join(failed...)
}
