package provision

import (
	"context"
	"fmt"
	"io"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/library"
)

// operatorImages is what operators do with images. What changes what machines
// get is audited before it happens.
type operatorImages struct{ s *Server }

var _ admin.Library = operatorImages{}

// Images returns every image, and which of them new installs get; behind them
// what is being published.
func (o operatorImages) Images(context.Context) ([]admin.Image, error) {
	all, err := o.s.opts.Images.Images()
	if err != nil {
		return nil, err
	}
	active := ""
	if current, err := o.s.opts.Images.Current(); err == nil {
		active = current.Manifest.ID
	}
	views := make([]admin.Image, 0, len(all))
	for _, i := range all {
		v := admin.Image{
			ID: i.Manifest.ID, Name: i.Manifest.Name, Kernel: i.Manifest.Kernel, Kubernetes: i.Manifest.Kubernetes,
			Active: i.Manifest.ID == active, Provisioned: len(i.Manifest.Provisioned),
		}
		for _, a := range library.Needed(i.Manifest) {
			v.Size += a.Size
		}
		views = append(views, v)
	}
	uploads, err := o.s.opts.Images.Uploads()
	if err != nil {
		return nil, err
	}
	for _, u := range uploads {
		v := admin.Image{ID: u.ID, Upload: new(admin.Upload)}
		for _, f := range u.Files {
			v.Size += f.Size
			v.Upload.Have += f.Have
		}
		views = append(views, v)
	}
	return views, nil
}

// Begin begins to publish an image.
func (o operatorImages) Begin(ctx context.Context, offer library.Offer) (library.Upload, error) {
	return o.s.opts.Images.Begin(ctx, offer)
}

// Append adds bytes to a file.
func (o operatorImages) Append(ctx context.Context, id, path string, offset int64, content io.Reader) (int64, error) {
	return o.s.opts.Images.Append(ctx, id, path, offset, content)
}

// Commit lets an image appear.
func (o operatorImages) Commit(ctx context.Context, id string) error {
	return o.audited("publish", id, func() error { return o.s.opts.Images.Commit(ctx, id) })
}

// Activate makes an image the one that new installs get, if this server could
// install it.
func (o operatorImages) Activate(ctx context.Context, id string) error {
	image, err := o.s.opts.Images.Image(id)
	if err != nil {
		return fmt.Errorf("activating an image: %w", err)
	}
	if err := o.s.opts.accept(image); err != nil {
		return fmt.Errorf("activating an image: %w", err)
	}
	return o.audited("activate", id, func() error { return o.s.opts.Images.Activate(ctx, id) })
}

// Remove removes an image that nobody is being installed with.
func (o operatorImages) Remove(ctx context.Context, id string) error {
	nodes, err := o.s.store.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("reading the nodes: %w", err)
	}
	for _, n := range nodes {
		if n.Window.Image == id && n.Open(o.s.opts.Now()) {
			return fmt.Errorf("removing image %q: node %q is armed with it: disarm it first", id, n.Name)
		}
	}
	return o.audited("remove", id, func() error { return o.s.opts.Images.Remove(ctx, id) })
}

// audited does something to an image, after a record that it was asked for.
func (o operatorImages) audited(action, id string, do func() error) error {
	event := audit.Event{Action: action, Result: "asked", Detail: "image " + id}
	if err := o.s.Audit(event); err != nil {
		return err
	}
	if err := do(); err != nil {
		event.Result = "failed"
		o.s.record(event)
		return err
	}
	event.Result = "granted"
	o.s.record(event)
	o.s.log.Info("image changed", "action", action, "image", id)
	return nil
}
