package seed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// ByLabel is udev's link to the seed partition. With several imaged disks in
// one machine it leads to any of them: prefer [Locate].
const ByLabel = "/dev/disk/by-partlabel/" + images.LabelSeed

// A Partition is where a seed is.
type Partition struct {
	// Device is the path of a block device, or of a file.
	Device string
	// Offset and Size are in bytes; a Size of zero means up to the end.
	Offset, Size int64
}

// Locate finds the seed partition of the disk that carries the partition
// rootGUID, among the disks of the system below root ("" is the running one).
// Two disks with that partition are an error: which of them was booted cannot
// be told.
func Locate(root, rootGUID string) (Partition, error) {
	disks, err := disk.List(root)
	if err != nil {
		return Partition{}, fmt.Errorf("locating seed partition: %w", err)
	}
	var found []Partition
	for _, d := range disks {
		if disk.NotADisk(d) != "" || d.Size == 0 {
			continue
		}
		t, err := readTable(filepath.Join("/", root, d.Path))
		// Other disks may have any table, or none, or be out of order.
		if err != nil || !t.Has(strings.ToLower(rootGUID)) {
			continue
		}
		p, err := t.Labelled(images.LabelSeed)
		if err != nil {
			return Partition{}, fmt.Errorf("locating seed partition on %s: %w", d.Path, err)
		}
		found = append(found, onDevice(root, d, p))
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Partition{}, fmt.Errorf("locating seed partition: no disk has the root partition %s", rootGUID)
	default:
		var devices []string
		for _, p := range found {
			devices = append(devices, p.Device)
		}
		return Partition{}, fmt.Errorf("locating seed partition: several disks have the root partition %s (%s): "+
			"erase or remove the ones that this machine shall not boot", rootGUID, strings.Join(devices, ", "))
	}
}

func readTable(path string) (disk.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return disk.Table{}, err
	}
	defer f.Close()
	return disk.ReadTable(f)
}

// onDevice prefers the partition's own device node: the kernel may forbid
// writing to a disk of which a partition is mounted.
func onDevice(root string, d disk.Disk, p disk.Partition) Partition {
	whole := Partition{Device: filepath.Join("/", root, d.Path), Offset: p.Start, Size: p.Size}
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
			return Partition{Device: node, Size: p.Size}
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

// Extract writes the payload to out with mode 0600 and makes the empty file
// marker. An empty partition is no error and makes neither file: the node was
// set up on an earlier boot.
func Extract(p Partition, out, marker string) error {
	payload, err := Read(p)
	if errors.Is(err, ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := atomicfile.Write(out, payload, 0o600); err != nil {
		return fmt.Errorf("extracting seed: %w", err)
	}
	if err := atomicfile.Write(marker, nil, 0o644); err != nil {
		return fmt.Errorf("extracting seed: %w", err)
	}
	return nil
}

// Scrub writes zeros over the whole partition, waits until they are on the
// medium, and removes the files in leftovers, which hold what the seed led to.
func Scrub(p Partition, leftovers ...string) error {
	f, size, err := open(p, os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("scrubbing seed: %w", err)
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for done := int64(0); done < size; {
		n, err := f.WriteAt(zeros[:min(size-done, int64(len(zeros)))], p.Offset+done)
		if err != nil {
			return fmt.Errorf("scrubbing seed: %w", err)
		}
		done += int64(n)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("scrubbing seed: %w", err)
	}
	for _, path := range leftovers {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("scrubbing seed: %w", err)
		}
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
