package source

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// A Source is one pinned input, wherever it is from: a Debian package or a
// file of the web ([HTTP.Source]), a Go module ([Go.Source]), a container image
// (package container).
type Source interface {
	// Name is for people.
	Name() string
	// Fetch brings the input where the bake reads it: into the cache, or a Go
	// module into the module cache. It opens no socket if it is there already.
	// It must be safe to fetch one input twice at once.
	Fetch(ctx context.Context, c Cache) error
}

// FetchAll fetches inputs, at most limit at once, and stops at the first
// error.
func FetchAll(ctx context.Context, c Cache, limit int, sources ...Source) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(limit, 1))
	for _, s := range sources {
		g.Go(func() error { return s.Fetch(ctx, c) })
	}
	return g.Wait()
}

// Source is a file of the web; the one of a package is [Archive.File].
func (h HTTP) Source(f File) Source { return webSource{h, f} }

type webSource struct {
	http HTTP
	file File
}

func (s webSource) Name() string { return s.file.Name }

func (s webSource) Fetch(ctx context.Context, c Cache) error {
	_, err := s.http.Fetch(ctx, c, s.file)
	return err
}

// Source is a Go module, without those that it depends on: its go.sum pins
// them, and the Go command fetches them when it builds.
func (g Go) Source(m Module) Source { return moduleSource{g, m} }

type moduleSource struct {
	command Go
	module  Module
}

func (s moduleSource) Name() string { return s.module.Path + "@" + s.module.Version }

func (s moduleSource) Fetch(ctx context.Context, _ Cache) error {
	_, err := s.command.fetch(ctx, s.module)
	return err
}

// fetch brings a module into the module cache.
func (g Go) fetch(ctx context.Context, pin Module) (moduleInfo, error) {
	info, err := g.download(ctx, pin.Path, pin.Version)
	if err != nil {
		return moduleInfo{}, err
	}
	if info.Sum != pin.Sum || info.GoModSum != pin.GoModSum {
		return moduleInfo{}, fmt.Errorf("fetching module %s@%s: it is not the locked one: got %s, want %s; lock again if upstream replaced it",
			pin.Path, pin.Version, info.Sum, pin.Sum)
	}
	return info, nil
}
