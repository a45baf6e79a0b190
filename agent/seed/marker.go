package seed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// MarkerPath is the marker's path in the state file system, which is /var of
// the running system.
const MarkerPath = "lib/k8snode/ignition.done"

// A Marker says that a first boot was finished.
type Marker struct {
	// Partition is the GUID of the partition that it was written to. A new
	// installation gives the state partition a new GUID, so that a marker
	// which is still found at the same place of the disk counts for nothing.
	Partition string `json:"partition"`
	// Config is what was done.
	Config
}

func readMarker(dir string) (Marker, error) {
	var m Marker
	data, err := os.ReadFile(filepath.Join(dir, MarkerPath))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("reading %s: %w", MarkerPath, err)
	}
	return m, nil
}

// writeMarker returns when the marker is on the medium.
func writeMarker(dir string, m Marker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("internal error: encoding marker: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, MarkerPath), append(data, '\n'), 0o600)
}

// Places in the first sector of an XFS: the magic number, and the flag that
// mkfs.xfs clears last (sb_inprogress of xfs_dsb in the kernel's xfs_format.h).
const (
	xfsMagic      = "XFSB"
	xfsInProgress = 126
)

// hasFileSystem reports whether p holds an XFS that was completely made.
func hasFileSystem(p Partition) (bool, error) {
	f, size, err := open(p, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 512)
	if size < int64(len(head)) {
		return false, nil
	}
	if _, err := f.ReadAt(head, p.Offset); err != nil {
		return false, err
	}
	return bytes.HasPrefix(head, []byte(xfsMagic)) && head[xfsInProgress] == 0, nil
}

// A mounter mounts for the time of a call.
type mounter struct {
	runner command.Runner
	// dir is the mount point.
	dir string
}

func mountArgs(kind, options, device, dir string) []string {
	return []string{"-t", kind, "-o", options, device, dir}
}

// within calls do while p is mounted at m.dir.
func (m mounter) within(ctx context.Context, p Partition, kind, options string, do func() error) (err error) {
	if p.Offset != 0 {
		return fmt.Errorf("the kernel does not know the partition %s of %s", p.GUID, p.Device)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	if err := m.runner.Run(ctx, nil, "mount", mountArgs(kind, options, p.Device, m.dir)...); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, m.runner.Run(context.WithoutCancel(ctx), nil, "umount", m.dir))
	}()
	return do()
}

// status asks the state partition how far it has come.
func (m mounter) status(ctx context.Context, p Partition) (Status, Marker, error) {
	whole, err := hasFileSystem(p)
	if err != nil {
		return StateUnreadable, Marker{}, err
	}
	if !whole {
		return StateBlank, Marker{}, nil
	}
	var marker Marker
	var missing bool
	// Read-only, yet the kernel replays the journal: what was synced before a
	// power cut is seen.
	err = m.within(ctx, p, "xfs", "ro,noatime", func() (err error) {
		marker, err = readMarker(m.dir)
		if missing = errors.Is(err, fs.ErrNotExist); missing {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return StateUnreadable, Marker{}, err
	case missing || marker.Partition != p.GUID:
		return StateUnfinished, Marker{}, nil
	}
	return StateFinished, marker, nil
}
