package seed

import (
	"fmt"
	"strings"

	"github.com/k8snode/k8snode/agent/cmdline"
)

// A Source is a place that a config comes from.
type Source string

// The sources, in order of precedence.
const (
	FromSeed      Source = "seed"
	FromInitramfs Source = "initramfs"
	FromESP       Source = "esp"
	FromFirmware  Source = "fw_cfg"
	FromURL       Source = "url"
)

// String names the source for whoever stands in front of the machine.
func (s Source) String() string {
	switch s {
	case FromSeed:
		return "the seed partition"
	case FromInitramfs:
		return "an archive appended to the initramfs"
	case FromESP:
		return espFile + " on the EFI system partition"
	case FromFirmware:
		return "QEMU's fw_cfg"
	case FromURL:
		return "ignition.config.url"
	}
	return string(s)
}

// A Config is a config that was found, without its content.
type Config struct {
	Source Source `json:"source"`
	// SHA256 is the hexadecimal digest of its bytes; empty for FromURL.
	SHA256 string `json:"sha256,omitempty"`
}

// A Status is what the state partition says of earlier boots.
type Status int

// The statuses of a state partition.
const (
	// StateAbsent: there is no such partition.
	StateAbsent Status = iota
	// StateBlank: it has no file system, or one whose making was cut off.
	StateBlank
	// StateUnfinished: a file system without a marker, or with the marker of
	// another partition, which was at this place of the disk before.
	StateUnfinished
	// StateFinished: it holds its own marker.
	StateFinished
	// StateUnreadable: it cannot be mounted.
	StateUnreadable
)

// Inputs are what [Decide] decides by.
type Inputs struct {
	State cmdline.State
	// Seed is the config on the seed partition, nil if that is empty or
	// missing; SeedErr says that it is corrupt.
	Seed    *Config
	SeedErr error
	// Configs are those of the other sources, in order of precedence.
	Configs []Config
	// UsedESP says that the ESP still holds a config that is used up.
	UsedESP bool
	// Status, the Marker of StateFinished and the error of StateUnreadable.
	Status    Status
	Marker    Marker
	StatusErr error
}

// An Action is what to do with this boot.
type Action string

// The actions.
const (
	FirstBoot Action = "first boot"
	LaterBoot Action = "later boot"
	Hold      Action = "hold"
)

// A Decision says what to do.
type Decision struct {
	Action Action
	// Config is for Ignition, on a first boot.
	Config Config
	// Erase are sources that were used up by an earlier boot.
	Erase []Source
	// Ignored are sources that a later boot does not read.
	Ignored []Source
	// Reason says why the machine holds, and what to do.
	Reason string
}

const (
	reinstall = "open an install window for this machine (k8snode arm NODE) and boot it from the network"
	giveOne   = "append a config to the initramfs as /etc/k8snode/user.ign, or name one with ignition.config.url= on the kernel command line"
)

// Decide decides whether Ignition runs, and with what.
func Decide(in Inputs) Decision {
	if in.State == cmdline.Tmpfs {
		return decideTmpfs(in)
	}
	finished := in.Status == StateFinished
	// Power failed after the marker was written, before the seed was erased.
	used := finished && in.Seed != nil && in.Marker.SHA256 == in.Seed.SHA256
	switch {
	case in.SeedErr != nil && !finished:
		return hold("%v: the config of this machine is lost: %s", in.SeedErr, reinstall)
	case in.Seed != nil && !used:
		return Decision{Action: FirstBoot, Config: *in.Seed}
	case finished:
		return decideLater(in)
	case len(in.Configs) == 0:
		return hold("%s", nothing(in))
	case in.Status == StateUnreadable && in.Configs[0].Source != FromESP:
		// Such a source is there on every boot, so it does not mean that the
		// state is to be made anew.
		return hold("the state partition cannot be read and a new first boot would erase it: %v: "+
			"repair it (xfs_repair) from another system, or erase it (wipefs -a) to start over", in.StatusErr)
	}
	return Decision{Action: FirstBoot, Config: in.Configs[0]}
}

func decideTmpfs(in Inputs) Decision {
	switch {
	case in.SeedErr != nil:
		return hold("%v: the config of this machine is lost: %s", in.SeedErr, reinstall)
	case in.Seed != nil:
		return Decision{Action: FirstBoot, Config: *in.Seed}
	case len(in.Configs) > 0:
		return Decision{Action: FirstBoot, Config: in.Configs[0]}
	}
	return hold("there is no config, and with its state in memory this machine needs one on every boot: %s", giveOne)
}

func decideLater(in Inputs) Decision {
	d := Decision{Action: LaterBoot}
	if in.Seed != nil || in.SeedErr != nil {
		d.Erase = append(d.Erase, FromSeed)
	}
	used := in.UsedESP
	for _, c := range in.Configs {
		switch {
		case c.Source == FromESP && in.Marker.Source == FromESP && c.SHA256 == in.Marker.SHA256:
			used = true
		case c.Source == FromESP:
			d.Ignored = append(d.Ignored, c.Source)
		}
	}
	if used {
		d.Erase = append(d.Erase, FromESP)
	}
	return d
}

// nothing explains why a machine without any config holds.
func nothing(in Inputs) string {
	var what string
	switch in.Status {
	case StateAbsent:
		what = "this machine has an image but no identity: there is no config for a first boot and no state of an earlier one"
	case StateUnreadable:
		what = fmt.Sprintf("the state partition cannot be read: %v: repair it (xfs_repair) from another system, or start over", in.StatusErr)
	default:
		what = "the first boot of this machine was not finished and its config is gone"
	}
	return strings.Join([]string{what, reinstall + ", or " + giveOne}, ": ")
}

func hold(format string, args ...any) Decision {
	return Decision{Action: Hold, Reason: fmt.Sprintf(format, args...)}
}
