package disk

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/k8snode/k8snode/images"
)

const (
	mib = 1 << 20
	// SectorSize in bytes, of the disks that an image fits.
	SectorSize = 512
)

// Partition types, from the UEFI specification and the Discoverable Partitions
// Specification. The seed has a type of our own, so that nothing mounts it.
const (
	TypeESP  = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	TypeRoot = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" // Linux root, x86-64
	TypeSeed = "5A1E6C1B-3C0C-4A0F-9E5B-6B38736E6F64"
)

// SeedSize is the size of the seed partition.
const SeedSize = 1 * mib

// A Layout is the partition table of an image.
type Layout struct {
	Info images.DiskInfo
}

// NewLayout computes the table for an image with this ID and a root of
// rootBytes.
func NewLayout(spec images.Disk, id string, rootBytes int64) (Layout, error) {
	root := int64(spec.RootMiB) * mib
	if rootBytes > root {
		return Layout{}, fmt.Errorf("laying out the disk: the root has %d MiB and spec.disk.rootMiB allows %d: raise it",
			(rootBytes+mib-1)/mib, spec.RootMiB)
	}
	l := Layout{Info: images.DiskInfo{SectorSize: SectorSize, GUID: GUID(id, "disk")}}
	next := int64(mib)
	for _, p := range []struct {
		label, typ string
		size       int64
	}{
		{images.LabelESP, TypeESP, int64(spec.ESPMiB) * mib},
		{images.LabelSeed, TypeSeed, SeedSize},
		{images.LabelRoot, TypeRoot, root},
	} {
		l.Info.Partitions = append(l.Info.Partitions, images.Partition{
			Label: p.label, Type: p.typ, GUID: GUID(id, p.label), Start: next, Size: p.size,
		})
		next += p.size
	}
	l.Info.Size = next + mib // room for the backup GPT
	return l, nil
}

// Partition returns the partition with a label.
func (l Layout) Partition(label string) images.Partition {
	for _, p := range l.Info.Partitions {
		if p.Label == label {
			return p
		}
	}
	return images.Partition{}
}

// GUID is the UUIDv5 of a part of the image with this ID, in upper case as GPT
// tools print it.
func GUID(id, part string) string {
	ns := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://k8snode.io/image/"+id))
	return upper(uuid.NewSHA1(ns, []byte(part)).String())
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'f' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
