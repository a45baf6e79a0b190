package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A Disk is a block device as sysfs describes it.
type Disk struct {
	// Name is the kernel's, sda; Path is /dev/sda.
	Name, Path string
	// Links are the symbolic links to Path below /dev/disk, sorted.
	Links []string
	// Serial, WWN and Model are empty when the kernel does not know them.
	Serial, WWN, Model string
	// Size is in bytes; zero means that there is no medium.
	Size int64
	// LogicalSector is in bytes.
	LogicalSector       int
	Removable, ReadOnly bool
	// Rotational disks are slow to find what they look for. What a RAID controller
	// says of its disks is its own opinion.
	Rotational bool
	// Hidden devices are paths of a multipath device.
	Hidden bool
}

// List returns the block devices of the system below root, "" or "/" for the
// running one, sorted by name. Partitions are not listed.
func List(root string) ([]Disk, error) {
	if root == "" {
		root = "/"
	}
	sys := filepath.Join(root, "sys/block")
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, fmt.Errorf("listing disks: %w", err)
	}
	links := deviceLinks(root)
	var disks []Disk
	for _, entry := range entries {
		dir := filepath.Join(sys, entry.Name())
		// The kernel writes "!" where the device node's name has "/".
		name := strings.ReplaceAll(entry.Name(), "!", "/")
		d := Disk{
			Name:          name,
			Path:          "/dev/" + name,
			Links:         links[name],
			Serial:        serial(dir),
			WWN:           firstOf(dir, "wwid", "device/wwid"),
			Model:         firstOf(dir, "device/model"),
			LogicalSector: int(number(dir, "queue/logical_block_size")),
			Removable:     number(dir, "removable") != 0,
			ReadOnly:      number(dir, "ro") != 0,
			Hidden:        number(dir, "hidden") != 0,
			Rotational:    number(dir, "queue/rotational") != 0,
			// The unit of this file is 512 bytes, whatever the sector size is.
			Size: number(dir, "size") * 512,
		}
		disks = append(disks, d)
	}
	sort.Slice(disks, func(i, j int) bool { return disks[i].Name < disks[j].Name })
	return disks, nil
}

// serial looks where NVMe, virtio and MMC keep it, then in the unit serial
// number page of SCSI and SATA disks: four bytes of header, then text.
func serial(dir string) string {
	if s := firstOf(dir, "serial", "device/serial"); s != "" {
		return s
	}
	page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80"))
	if err != nil || len(page) < 4 {
		return ""
	}
	return clean(string(page[4:]))
}

func firstOf(dir string, names ...string) string {
	for _, name := range names {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			if s := clean(string(data)); s != "" {
				return s
			}
		}
	}
	return ""
}

func clean(s string) string { return strings.Trim(s, " \t\r\n\x00") }

// number reads a decimal attribute; one that is missing or malformed is 0.
func number(dir, name string) int64 {
	n, err := strconv.ParseInt(firstOf(dir, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// deviceLinks maps a device name to the links below /dev/disk that lead to it.
func deviceLinks(root string) map[string][]string {
	links := make(map[string][]string)
	paths, _ := filepath.Glob(filepath.Join(root, "dev/disk/*/*"))
	dev := filepath.Join(root, "dev")
	for _, path := range paths {
		target, err := os.Readlink(path)
		if err != nil {
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		name, err := filepath.Rel(dev, target)
		if err != nil || strings.HasPrefix(name, "..") {
			continue
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			continue
		}
		links[name] = append(links[name], "/"+rel)
	}
	for _, l := range links {
		sort.Strings(l)
	}
	return links
}
