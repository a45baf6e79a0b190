package seed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/agent/disk"
)

// A Partition is where something is on a disk.
type Partition struct {
	// Device is the path of a block device, or of a file.
	Device string
	// Offset and Size are in bytes; a Size of zero means up to the end.
	Offset, Size int64
	// GUID is the partition's, lower-case.
	GUID string
}

// A tabled is a disk with a partition table.
type tabled struct {
	root  string
	disk  disk.Disk
	table disk.Table
}

// tables returns every disk of the machine that has a table. Other disks may
// have any content, or be out of order.
func tables(root string) ([]tabled, error) {
	disks, err := disk.List(root)
	if err != nil {
		return nil, err
	}
	var found []tabled
	for _, d := range disks {
		if disk.NotADisk(d) != "" || d.Size == 0 {
			continue
		}
		if t, err := readTable(filepath.Join("/", root, d.Path), d.LogicalSector); err == nil {
			found = append(found, tabled{root, d, t})
		}
	}
	return found, nil
}

// findImage returns the one disk that has the partition rootGUID. Several are
// an error: which of them was booted cannot be told.
func findImage(root, rootGUID string) (tabled, error) {
	all, err := tables(root)
	if err != nil {
		return tabled{}, err
	}
	var found []tabled
	var paths []string
	for _, d := range all {
		if d.table.Has(strings.ToLower(rootGUID)) {
			found = append(found, d)
			paths = append(paths, d.disk.Path)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return tabled{}, fmt.Errorf("no disk has the root partition %s", rootGUID)
	}
	return tabled{}, fmt.Errorf("several disks have the root partition %s (%s): "+
		"erase or remove the ones that this machine shall not boot", rootGUID, strings.Join(paths, ", "))
}

func readTable(path string, sector int) (disk.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return disk.Table{}, err
	}
	defer f.Close()
	return disk.ReadTable(f, sector)
}

// partition returns the partition with a label and whether there is one.
func (d tabled) partition(label string) (Partition, bool, error) {
	for _, p := range d.table.Partitions {
		if p.Label != label {
			continue
		}
		if _, err := d.table.Labelled(label); err != nil {
			return Partition{}, false, fmt.Errorf("%s: %w", d.disk.Path, err)
		}
		return onDevice(d.root, d.disk, p), true, nil
	}
	return Partition{}, false, nil
}

// onDevice prefers the partition's own device node: the kernel may forbid
// writing to a disk of which a partition is mounted.
func onDevice(root string, d disk.Disk, p disk.Partition) Partition {
	whole := Partition{Device: filepath.Join("/", root, d.Path), Offset: p.Start, Size: p.Size, GUID: p.GUID}
	numbers, err := filepath.Glob(filepath.Join("/", root, "sys/block", strings.ReplaceAll(d.Name, "/", "!"), "*/partition"))
	if err != nil {
		return whole
	}
	for _, file := range numbers {
		data, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(data)) != strconv.Itoa(p.Number) {
			continue
		}
		name := strings.ReplaceAll(filepath.Base(filepath.Dir(file)), "!", "/")
		node := filepath.Join("/", root, "dev", name)
		if _, err := os.Stat(node); err == nil {
			return Partition{Device: node, Size: p.Size, GUID: p.GUID}
		}
	}
	return whole
}

// Read returns the payload of the seed, or an error that wraps [ErrEmpty] or
// [ErrCorrupt].
func Read(p Partition) ([]byte, error) {
	f, size, err := open(p, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("reading seed: %w", err)
	}
	defer f.Close()
	payload, err := Decode(io.NewSectionReader(f, p.Offset, size), size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Device, err)
	}
	return payload, nil
}

// Erase writes zeros over the whole partition and waits until they are on the
// medium. The header is the last to go: as long as anything of the seed is
// left, a reader finds a seed that is corrupt, not an empty partition.
func Erase(p Partition) error {
	f, size, err := open(p, os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("erasing seed: %w", err)
	}
	defer f.Close()
	head := min(size, 4096)
	if err := errors.Join(zero(f, p.Offset+head, size-head), f.Sync()); err != nil {
		return fmt.Errorf("erasing seed: %w", err)
	}
	if err := errors.Join(zero(f, p.Offset, head), f.Sync()); err != nil {
		return fmt.Errorf("erasing seed: %w", err)
	}
	return nil
}

func zero(f *os.File, offset, length int64) error {
	zeros := make([]byte, 1<<20)
	for length > 0 {
		n, err := f.WriteAt(zeros[:min(length, int64(len(zeros)))], offset)
		if err != nil {
			return err
		}
		offset, length = offset+int64(n), length-int64(n)
	}
	return nil
}

// open opens the device of p and returns the partition's size. Without
// O_CREATE: a missing device must not become a file in /dev.
func open(p Partition, flag int) (*os.File, int64, error) {
	f, err := os.OpenFile(p.Device, flag, 0)
	if err != nil {
		return nil, 0, err
	}
	size := p.Size
	if size == 0 {
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		size = end - p.Offset
	}
	return f, size, nil
}
