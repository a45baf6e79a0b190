package wholepath

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/k8snode/k8snode/images"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

// Run performs the story and returns the running cluster, which the caller
// closes or keeps. If it fails, everything is stopped; the files remain.
func Run(ctx context.Context, opts Options) (*Cluster, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("starting the whole path: %w", err)
	}
	manifest, err := opts.prepare()
	if err != nil {
		return nil, fmt.Errorf("starting the whole path: %w", err)
	}
	c := &Cluster{Dir: opts.Dir, Timeline: Timeline{Bake: opts.BakeTook}}
	if err := c.perform(ctx, opts, manifest); err != nil {
		err = c.explain(err)
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

// perform is the story. What a stage makes is an argument of the next ones;
// c only collects what must be stopped, shown or timed.
func (c *Cluster) perform(ctx context.Context, opts Options, manifest images.Manifest) error {
	run := &recorder{opts: opts, timeline: &c.Timeline}

	docs, err := stage(run, "render configs", func() (documents, error) {
		return render(ctx, opts, manifest)
	})
	if err != nil {
		return err
	}
	if err := run.stage("refuse what is not signed, then sign", func() error {
		return sign(ctx, opts, docs)
	}); err != nil {
		return err
	}
	k8snode, err := stage(run, "serve", func() (tool, error) {
		return c.serve(ctx, opts, docs)
	})
	if err != nil {
		return err
	}
	stranger := attacker{network: c.Network, spec: docs.spec.Spec.Provision}
	if err := run.stage("refuse, then arm", func() error {
		return refuseThenArm(ctx, k8snode, stranger)
	}); err != nil {
		return err
	}
	if err := run.stage("install and bootstrap", func() error {
		return c.install(ctx, opts, k8snode)
	}); err != nil {
		return err
	}
	client, err := stage(run, "nodes Ready", func() (kube.Kubectl, error) {
		return c.admit(ctx, opts, k8snode)
	})
	if err != nil {
		return err
	}
	if err := run.stage("refuse a second reader", func() error {
		return refuseSecondReader(ctx, k8snode, stranger)
	}); err != nil {
		return err
	}
	if err := run.stage("pod answers", func() error {
		return c.answer(ctx, opts, client, docs.spec)
	}); err != nil {
		return err
	}
	return run.stage("pods ready", func() error {
		return c.podsReady(ctx, opts, client)
	})
}

// recorder times stages.
type recorder struct {
	opts     Options
	timeline *Timeline
}

// stage runs a part of the story that makes something.
func stage[T any](r *recorder, name string, f func() (T, error)) (T, error) {
	var made T
	err := r.stage(name, func() (err error) {
		made, err = f()
		return err
	})
	return made, err
}

// stage runs one part of the story.
func (r *recorder) stage(name string, f func() error) error {
	number := len(r.timeline.Stages) + 1
	r.opts.Logger.Info("stage began", "stage", number, "name", name)
	begin := r.opts.Now()
	err := f()
	took := r.opts.Now().Sub(begin)
	r.timeline.Stages = append(r.timeline.Stages, Stage{Number: number, Name: name, Took: took})
	if err != nil {
		return fmt.Errorf("stage %d, %s: %w", number, name, err)
	}
	r.opts.Logger.Info("stage ended", "stage", number, "name", name, "took", took.Round(100*time.Millisecond))
	return nil
}
