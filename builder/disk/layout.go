package disk

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/k8snode/k8snode/images"
)

const mib = 1 << 20

// DefaultSectorSize in bytes is that of a recipe which says nothing.
const DefaultSectorSize = 512

// Partition types, from the UEFI specification, the GRUB manual ("BIOS
// installation") and the Discoverable Partitions Specification. The seed has a
// type of our own, so that nothing mounts it.
const (
	TypeBIOS = "21686148-6449-6E6F-744E-656564454649"
	TypeESP  = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	TypeRoot = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" // Linux root, x86-64
	TypeSeed = "5A1E6C1B-3C0C-4A0F-9E5B-6B38736E6F64"
)

// Sizes of the partitions that no recipe chooses.
const (
	BIOSSize = 1 * mib
	SeedSize = 1 * mib
)

// minESP is the smallest EFI system partition in MiB by sector size: FAT32
// needs 65525 clusters (Microsoft's FAT32 specification, section 3.5), and a
// cluster has at least one sector.
func minESP(sector int) int {
	if sector == 4096 {
		return 257
	}
	return 33
}

// A Layout is the partition table of an image.
type Layout struct {
	Info images.DiskInfo
	id   string
}

// NewLayout computes the table for an image with this ID and a root of
// rootBytes.
func NewLayout(spec images.Disk, id string, rootBytes int64) (Layout, error) {
	sector := spec.SectorSize
	switch sector {
	case 0:
		sector = DefaultSectorSize
	case 512, 4096:
	default:
		return Layout{}, fmt.Errorf("laying out the disk: spec.disk.sectorSize is %d: want 512 or 4096", sector)
	}
	if least := minESP(sector); spec.ESPMiB < least {
		return Layout{}, fmt.Errorf("laying out the disk: spec.disk.espMiB is %d, and FAT32 with sectors of %d bytes needs %d: raise it",
			spec.ESPMiB, sector, least)
	}
	root := int64(spec.RootMiB) * mib
	if rootBytes > root {
		return Layout{}, fmt.Errorf("laying out the disk: the root has %d MiB and spec.disk.rootMiB allows %d: raise it",
			(rootBytes+mib-1)/mib, spec.RootMiB)
	}
	l := Layout{Info: images.DiskInfo{SectorSize: sector, GUID: GUID(id, "disk")}, id: id}
	next := int64(mib)
	for _, p := range []struct {
		label, typ string
		size       int64
	}{
		{images.LabelBIOS, TypeBIOS, BIOSSize},
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
	return upper(partUUID(id, part).String())
}

// Serial is the serial number of a FAT file system of the image with this ID.
func Serial(id, part string) uint32 {
	u := partUUID(id, part)
	return uint32(u[0])<<24 | uint32(u[1])<<16 | uint32(u[2])<<8 | uint32(u[3])
}

func partUUID(id, part string) uuid.UUID {
	ns := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://k8snode.io/image/"+id))
	return uuid.NewSHA1(ns, []byte(part))
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
