package etcdguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/agent/node"
)

// revisionBump is more than a cluster writes between its last snapshot and its
// loss. Clients that watch, kubelets and controllers, take only revisions that are
// newer than what they have seen: etcd, op-guide/recovery.
const revisionBump = 1_000_000_000

// restore makes the data folder from the snapshot, as that of the only member of a
// cluster: whole, or not at all.
func restore(ctx context.Context, opts Options) error {
	cfg, data := opts.Config, opts.path(opts.Instance.DataDir())
	snapshot := opts.path(cfg.Etcd.Restore)
	if _, err := os.Stat(snapshot); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s yet: mount what it is on, or copy it there", cfg.Etcd.Restore)
	}
	partial := data + ".restoring"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	// It compares the digest that etcd wrote behind the data, so a file that is
	// still being copied is an error.
	err := opts.Runner.Run(ctx, nil, "etcdutl", "snapshot", "restore", snapshot,
		"--data-dir", partial,
		"--name", cfg.Name,
		"--initial-cluster", cfg.Name+"="+cfg.Etcd.PeerURL,
		"--initial-advertise-peer-urls", cfg.Etcd.PeerURL,
		"--initial-cluster-token", opts.Instance.Token(cfg.ClusterID, cfg.Generation),
		"--bump-revision", strconv.Itoa(revisionBump), "--mark-compacted",
	)
	if err != nil {
		return err
	}
	// A folder without a log may be there: etcd makes it first.
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(partial, data); err != nil {
		return err
	}
	return syncFileSystem(opts.path(node.EtcdMount))
}

// syncFileSystem makes what is below a folder durable: etcdutl does not wait for
// the disk.
func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}
