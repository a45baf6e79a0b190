package k8snode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/request"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/agent"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/uilog"
)

// stepBake is the build: one step, since a bake is one thing that happens or
// does not. Packer's -on-error decides about the unpacked root alone.
type stepBake struct {
	config Config
	host   Host
	ui     packersdk.Ui
	hook   packersdk.Hook

	manifest images.Manifest
	err      error
	// comm speaks to the root, rootDir is where it is unpacked.
	comm    *communicator
	rootDir string
}

// Run bakes. It may run again after it failed, when the user asks for that.
func (s *stepBake) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.removeRoot()
	s.manifest, s.err = s.bake(ctx)
	if s.err == nil {
		return multistep.ActionContinue
	}
	state.Put("error", s.err)
	if s.config.PackerOnError == "run-cleanup-provisioner" {
		s.cleanupProvisioner() // in this mode nothing else is cleaned up
	}
	return multistep.ActionHalt
}

// Cleanup removes the unpacked root. It is not called where the user wants to
// look at it.
func (s *stepBake) Cleanup(multistep.StateBag) {
	if s.err != nil {
		s.cleanupProvisioner()
	}
	s.removeRoot()
}

func (s *stepBake) removeRoot() {
	if s.rootDir == "" {
		return
	}
	if err := os.RemoveAll(s.rootDir); err != nil {
		s.ui.Errorf("removing the unpacked root: %v", err)
	}
	s.rootDir, s.comm = "", nil
}

func (s *stepBake) bake(ctx context.Context) (images.Manifest, error) {
	job, release, err := s.open()
	if err != nil {
		return images.Manifest{}, err
	}
	defer release()
	if s.rootDir, err = s.makeRootDir(); err != nil {
		return images.Manifest{}, err
	}
	job.Options.RootDir = s.rootDir
	job.Options.Provision = func(ctx context.Context, root *builder.Root) error { return s.provision(ctx, root) }
	progress := newProgress(s.ui, s.host.Now)
	job.Options.Logger, job.Options.Progress = slog.New(uilog.New(s.ui)), progress.fetched

	result, err := builder.Bake(ctx, job.Recipe, job.Sources, job.Options)
	if err != nil {
		if ctx.Err() == nil && s.commUsed() && s.keepsRoot() {
			s.ui.Sayf("the unpacked root is %s", s.rootDir)
		}
		return images.Manifest{}, job.Explain(err)
	}
	summarize(s.ui, result)
	return result.Manifest, nil
}

// open finds everything that a bake needs. The function that it returns gives
// the cache back.
func (s *stepBake) open() (request.Job, func(), error) {
	c := s.config
	dir := c.Cache
	if dir == "" {
		var err error
		if dir, err = s.host.cacheDir(); err != nil {
			return request.Job{}, nil, err
		}
	}
	o := builder.Options{
		Cache: source.Cache{Dir: dir}, Out: c.OutputDirectory, Env: s.host.Environ, Now: s.host.Now,
		Keyring: c.Keyring, Locked: c.Locked, Offline: c.Offline, Jobs: c.Jobs,
	}
	if c.Check {
		o.Check = builder.CheckAssembly
	}
	job, err := c.request().Open(o)
	if err != nil {
		return request.Job{}, nil, err
	}
	cache, release, err := job.Options.Cache.Claim()
	if err != nil {
		return request.Job{}, nil, err
	}
	job.Options.Cache = cache
	if job.Options.Agent, err = agent.Path(c.Agent, cache); err != nil {
		release()
		return request.Job{}, nil, err
	}
	return job, release, nil
}

// makeRootDir makes the folder of the unpacked root beside the output.
func (s *stepBake) makeRootDir() (string, error) {
	out, err := filepath.Abs(s.config.OutputDirectory)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", fmt.Errorf("making the parent of output_directory: %w", err)
	}
	return os.MkdirTemp(filepath.Dir(out), filepath.Base(out)+".root-")
}

// provision runs the template's provisioners.
func (s *stepBake) provision(ctx context.Context, root *builder.Root) error {
	comm, ctx := newCommunicator(ctx, root, s.config)
	s.comm = comm
	err := s.hook.Run(ctx, packersdk.HookProvision, s.ui, comm, s.hookData())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// hookData are what provisioners find as build.NAME. What the image will be
// nobody knows yet.
func (s *stepBake) hookData() map[string]any {
	return map[string]any{
		"ID": "", "Host": "", "User": "root", "ConnType": "chroot", "PackerRunUUID": s.host.getenv("PACKER_RUN_UUID"),
		dataImageID: "", dataKernel: "", dataKubernetes: "",
	}
}

// cleanupProvisioner runs the block error-cleanup-provisioner, in the root as
// it was left.
func (s *stepBake) cleanupProvisioner() {
	if !s.commUsed() {
		return
	}
	comm := s.comm.in(context.Background())
	err := s.hook.Run(context.Background(), packersdk.HookCleanupProvision, s.ui, comm, s.hookData())
	if err != nil {
		s.ui.Errorf("running the cleanup provisioner: %v", err)
	}
}

func (s *stepBake) commUsed() bool { return s.comm != nil && s.comm.used() }

// keepsRoot reports whether Packer leaves or may leave the root for the user.
func (s *stepBake) keepsRoot() bool {
	switch s.config.PackerOnError {
	case "abort", "ask", "run-cleanup-provisioner":
		return true
	}
	return false
}

// errNotReproducible refuses provisioners.
var errNotReproducible = errors.New("reproducible = true refuses provisioners that touch the root: no lock covers what they do; remove them, or the option")
