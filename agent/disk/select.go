package disk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/provision/api"
)

// Errors of Select, wrapped with the list of the machine's disks.
var (
	ErrNoMatch     = errors.New("no disk matches")
	ErrManyMatches = errors.New("several disks match")
)

const gib = 1 << 30

// Select returns the one disk that want describes.
func Select(disks []Disk, want api.DiskSelection) (Disk, error) {
	var matches []Disk
	var lines []string
	for _, d := range disks {
		reason := Refusal(d)
		if reason == "" {
			reason = mismatch(d, want)
		}
		if reason == "" {
			matches = append(matches, d)
			reason = "matches"
		}
		lines = append(lines, fmt.Sprintf("  %s: %s", d, reason))
	}
	if len(matches) == 1 {
		return matches[0], nil
	}
	err := ErrNoMatch
	if len(matches) > 1 {
		err = ErrManyMatches
	}
	if len(lines) == 0 {
		lines = []string{"  (the machine has no block device)"}
	}
	return Disk{}, fmt.Errorf("%w %s:\n%s", err, describe(want), strings.Join(lines, "\n"))
}

// String is the disk as an operator tells it apart.
func (d Disk) String() string {
	s := fmt.Sprintf("%s %.1f GiB", d.Path, float64(d.Size)/gib)
	for _, field := range []struct{ name, value string }{
		{"model", d.Model}, {"serial", d.Serial}, {"wwn", d.WWN},
	} {
		if field.value != "" {
			s += fmt.Sprintf(" %s=%q", field.name, field.value)
		}
	}
	if d.Rotational {
		s += " rotational"
	}
	return s
}

// notDisks are kernel names of block devices that are no disks, or that are
// made of other disks.
var notDisks = []struct {
	pattern *regexp.Regexp
	kind    string
}{
	{regexp.MustCompile(`^loop\d+$`), "a loop device"},
	{regexp.MustCompile(`^ram\d+$`), "a RAM disk"},
	{regexp.MustCompile(`^zram\d+$`), "compressed RAM"},
	{regexp.MustCompile(`^sr\d+$`), "an optical drive"},
	{regexp.MustCompile(`^fd\d+$`), "a floppy"},
	{regexp.MustCompile(`^dm-\d+$`), "a device mapper target"},
	{regexp.MustCompile(`^md\d+$|^md_`), "a RAID array"},
	{regexp.MustCompile(`^mmcblk\d+(boot\d+|rpmb)$`), "a boot area of a flash chip"},
}

// NotADisk returns what a device is when it is not a disk, by its name, and
// "" for a disk.
func NotADisk(d Disk) string {
	for _, n := range notDisks {
		if n.pattern.MatchString(d.Name) {
			return n.kind
		}
	}
	if d.Hidden {
		return "a path of a multipath device"
	}
	return ""
}

// Refusal returns why an install never takes d, or "" when it may.
func Refusal(d Disk) string {
	if kind := NotADisk(d); kind != "" {
		return "is " + kind
	}
	switch {
	case d.Removable:
		return "is removable"
	case d.ReadOnly:
		return "is read-only"
	case d.Size == 0:
		return "has no medium"
	}
	return ""
}

// mismatch returns the first field of want that d does not meet, or "".
func mismatch(d Disk, want api.DiskSelection) string {
	switch {
	case want.Device != "" && want.Device != d.Path && !slices.Contains(d.Links, want.Device):
		return fmt.Sprintf("is not device %s", want.Device)
	case want.Serial != "" && want.Serial != d.Serial:
		return fmt.Sprintf("serial is not %q", want.Serial)
	case want.WWN != "" && node.PlainWWN(want.WWN) != node.PlainWWN(d.WWN):
		return fmt.Sprintf("wwn is not %q", want.WWN)
	case want.Model != "" && want.Model != d.Model:
		return fmt.Sprintf("model is not %q", want.Model)
	case want.Rotational != nil && *want.Rotational != d.Rotational:
		return rotation(d)
	case d.Size < int64(want.MinSizeGiB)*gib:
		return fmt.Sprintf("is smaller than %d GiB", want.MinSizeGiB)
	case want.MaxSizeGiB > 0 && d.Size > int64(want.MaxSizeGiB)*gib:
		return fmt.Sprintf("is larger than %d GiB", want.MaxSizeGiB)
	}
	return ""
}

// rotation says which kind d is.
func rotation(d Disk) string {
	if d.Rotational {
		return "rotates"
	}
	return "does not rotate"
}

func describe(want api.DiskSelection) string {
	var parts []string
	for _, field := range []struct{ name, value string }{
		{"device", want.Device}, {"serial", want.Serial}, {"wwn", want.WWN}, {"model", want.Model},
	} {
		if field.value != "" {
			parts = append(parts, fmt.Sprintf("%s %q", field.name, field.value))
		}
	}
	if want.Rotational != nil {
		parts = append(parts, rotation(Disk{Rotational: *want.Rotational}))
	}
	if want.MinSizeGiB > 0 {
		parts = append(parts, fmt.Sprintf("at least %d GiB", want.MinSizeGiB))
	}
	if want.MaxSizeGiB > 0 {
		parts = append(parts, fmt.Sprintf("at most %d GiB", want.MaxSizeGiB))
	}
	if len(parts) == 0 {
		return "(the selection is empty: any disk)"
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
