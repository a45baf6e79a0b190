package preload

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// Options of [Run].
type Options struct {
	Role node.Role
	// Runtime gets the images; empty means containerd.
	Runtime node.Runtime
	// Root is put before node.ImagesDir and node.StateDir; "" is the running
	// system.
	Root string
	// Runner finds ctr and docker.
	Runner command.Runner
	// Sync writes the file system of a folder to its disk; nil asks the kernel.
	Sync func(dir string) error
	// Out gets one line of JSON for each step; nil discards them.
	Out io.Writer
}

// An Event is one line of output.
type Event struct {
	Step    string `json:"step"`
	Archive string `json:"archive"`
	// Result is imported or present.
	Result     string   `json:"result"`
	References []string `json:"references"`
}

// A marker remembers that an archive was imported.
type marker struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Run imports every archive of the role that the runtime does not hold yet.
func Run(ctx context.Context, opts Options) error {
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	if opts.Sync == nil {
		opts.Sync = syncFileSystem
	}
	dir := filepath.Join("/", opts.Root, node.ImagesDir)
	archives, err := Archives(dir, opts.Role)
	if err != nil {
		return fmt.Errorf("importing images: %w", err)
	}
	if len(archives) == 0 {
		return nil
	}
	store, err := storeOf(opts.Runtime)
	if err != nil {
		return fmt.Errorf("importing images: %w", err)
	}
	out, err := opts.Runner.Output(ctx, store.program, store.list...)
	if err != nil {
		return fmt.Errorf("importing images: %w", err)
	}
	present := strings.Fields(string(out))
	for _, archive := range archives {
		event, err := importOne(ctx, opts, store, archive, present)
		if err != nil {
			return fmt.Errorf("importing %s: %w", archive, err)
		}
		if event.Archive, err = filepath.Rel(dir, archive); err != nil {
			return fmt.Errorf("importing %s: %w", archive, err)
		}
		if err := json.NewEncoder(opts.Out).Encode(event); err != nil {
			return fmt.Errorf("importing images: %w", err)
		}
	}
	return nil
}

func importOne(ctx context.Context, opts Options, store store, archive string, present []string) (Event, error) {
	index, size, err := open(archive)
	if err != nil {
		return Event{}, err
	}
	event := Event{Step: "import", Result: "present", References: index.References}
	path := markerPath(opts.Root, archive)
	want, err := json.Marshal(marker{Digest: index.Digest, Size: size})
	if err != nil {
		return Event{}, err
	}
	if got, err := os.ReadFile(path); err == nil && string(got) == string(want) && containsAll(present, index.References) {
		return event, nil
	}
	for _, args := range store.imports(archive, index.References) {
		if err := opts.Runner.Run(ctx, nil, store.program, args...); err != nil {
			return Event{}, err
		}
	}
	if err := opts.Sync(filepath.Join("/", opts.Root, store.dir)); err != nil {
		return Event{}, err
	}
	if err := atomicfile.Write(path, want, 0o600); err != nil {
		return Event{}, err
	}
	event.Result = "imported"
	return event, nil
}

func open(archive string) (Index, int64, error) {
	f, err := os.Open(archive)
	if err != nil {
		return Index{}, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Index{}, 0, err
	}
	index, err := ReadIndex(f)
	return index, info.Size(), err
}

func markerPath(root, archive string) string {
	folder := filepath.Base(filepath.Dir(archive))
	return filepath.Join("/", root, node.StateDir, "images", folder, filepath.Base(archive)+".json")
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncing the file system of %s: %w", dir, err)
	}
	return nil
}
