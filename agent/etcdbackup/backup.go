// Package etcdbackup saves snapshots of etcd in a folder, and keeps so many.
//
// The flow of [Run]: ask the node's own member for a snapshot, write it beside
// its final name, check the digest that etcd sends behind it, rename it, remove
// the oldest.
//
// Promises: a file with a final name is whole and durable; nothing that was not
// written by this node is removed; a snapshot that fails removes none of those
// before it.
//
// It does not save events, where those have an etcd of their own, and does not
// restore: package etcdguard does, when the cluster document says so.
// Start with Run.
package etcdbackup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
)

// DefaultKeep is how many snapshots stay.
const DefaultKeep = 7

// A Source sends snapshots.
type Source interface {
	// Snapshot is the database, and then the SHA-256 of it.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
	Close()
}

// Options of [Run].
type Options struct {
	Config node.Config
	// Root is put before every path but Dir; "" is the running system.
	Root string
	// Dir is where snapshots are kept. It is made if it does not exist.
	Dir string
	// Keep is how many of this node stay; zero means DefaultKeep.
	Keep int
	// Now is the clock; required.
	Now func() time.Time
	// Connect prepares to ask etcd; nil asks the node's own member.
	Connect func(Options) (Source, error)
	// Log gets what is done; nil discards it.
	Log *slog.Logger
}

// Run saves a snapshot and returns its path.
func Run(ctx context.Context, opts Options) (string, error) {
	if opts.Keep == 0 {
		opts.Keep = DefaultKeep
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Connect == nil {
		opts.Connect = connect
	}
	path, err := run(ctx, opts)
	if err != nil {
		return "", fmt.Errorf("saving a snapshot of etcd: %w", err)
	}
	return path, nil
}

func connect(opts Options) (Source, error) {
	dial := etcd.NodeFiles(filepath.Join("/", opts.Root, node.EtcdPKIDir), "healthcheck-client")
	dial.Endpoints = []string{node.Main.ClientURL(opts.Config.Address)}
	return etcd.Dial(dial)
}

func run(ctx context.Context, opts Options) (string, error) {
	if opts.Config.Etcd == nil {
		return "", fmt.Errorf("node %q has no member of etcd", opts.Config.Name)
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return "", err
	}
	source, err := opts.Connect(opts)
	if err != nil {
		return "", err
	}
	defer source.Close()
	path := filepath.Join(opts.Dir, opts.Config.Name+"-"+opts.Now().UTC().Format(stamp)+".db")
	size, err := save(ctx, source, path)
	if err != nil {
		return "", err
	}
	removed, err := prune(opts)
	if err != nil {
		return "", err
	}
	opts.Log.Info("etcd backup", "step", "saved", "file", path, "bytes", size, "removed", removed)
	return path, nil
}

// stamp sorts as it was written.
const stamp = "20060102T150405Z"

// save writes a snapshot under a name that no one takes for one, and renames it.
func save(ctx context.Context, source Source, path string) (size int64, err error) {
	snapshot, err := source.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer snapshot.Close()
	partial := path + ".partial"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	size, err = io.Copy(file, snapshot)
	if err == nil {
		err = checkDigest(file, size)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(partial, path); err != nil {
		return 0, err
	}
	return size, syncFolder(filepath.Dir(path))
}

// checkDigest compares what etcd sends behind the database: etcd,
// server/etcdserver/api/v3rpc/maintenance.go.
func checkDigest(file *os.File, size int64) error {
	database := size - sha256.Size
	if database <= 0 {
		return fmt.Errorf("it has %d bytes, too few to be one", size)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, database)); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := file.ReadAt(want, database); err != nil {
		return err
	}
	if !bytes.Equal(hash.Sum(nil), want) {
		return errors.New("it does not have the digest that etcd sent with it: it was cut off")
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// prune removes the oldest of this node's snapshots, and what an interrupted
// save left.
func prune(opts Options) (removed int, err error) {
	entries, err := os.ReadDir(opts.Dir)
	if err != nil {
		return 0, err
	}
	own := regexp.MustCompile(`^` + regexp.QuoteMeta(opts.Config.Name) + `-[0-9]{8}T[0-9]{6}Z\.db(\.partial)?$`)
	var whole, drop []string
	for _, e := range entries {
		switch m := own.FindStringSubmatch(e.Name()); {
		case m == nil:
		case m[1] != "":
			drop = append(drop, e.Name())
		default:
			whole = append(whole, e.Name())
		}
	}
	slices.Sort(whole)
	drop = append(drop, whole[:max(0, len(whole)-opts.Keep)]...)
	for _, name := range drop {
		if err := os.Remove(filepath.Join(opts.Dir, name)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
