package seed_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/seed"
)

func TestDecide(t *testing.T) {
	var (
		stub      = seed.Config{Source: seed.FromSeed, SHA256: "aa"}
		initramfs = seed.Config{Source: seed.FromInitramfs, SHA256: "bb"}
		esp       = seed.Config{Source: seed.FromESP, SHA256: "cc"}
		firmware  = seed.Config{Source: seed.FromFirmware, SHA256: "dd"}
		url       = seed.Config{Source: seed.FromURL}

		byStub  = seed.Marker{Partition: "p", Config: stub}
		byESP   = seed.Marker{Partition: "p", Config: esp}
		byOther = seed.Marker{Partition: "p", Config: seed.Config{Source: seed.FromSeed, SHA256: "ee"}}

		corrupt = errors.New("seed partition is corrupt")
		broken  = errors.New("bad superblock")
	)
	first := func(c seed.Config) seed.Decision { return seed.Decision{Action: seed.FirstBoot, Config: c} }
	hold := func(reason string) seed.Decision { return seed.Decision{Action: seed.Hold, Reason: reason} }
	const (
		arm  = "open an install window for this machine (k8snode arm NODE) and boot it from the network"
		give = "append a config to the initramfs as /etc/k8snode/user.ign, or name one with ignition.config.url= on the kernel command line"
	)
	for _, tt := range []struct {
		name string
		in   seed.Inputs
		want seed.Decision
	}{
		// A disk after an install.
		{"seed, nothing else", seed.Inputs{Seed: &stub}, first(stub)},
		{"seed before every other source", seed.Inputs{Seed: &stub, Configs: []seed.Config{initramfs, esp, firmware, url}}, first(stub)},
		{"seed, cut while partitions are made: an old file system", seed.Inputs{Seed: &stub, Status: seed.StateUnfinished}, first(stub)},
		{"seed, cut in mkfs", seed.Inputs{Seed: &stub, Status: seed.StateBlank}, first(stub)},
		{"seed, unreadable state", seed.Inputs{Seed: &stub, Status: seed.StateUnreadable, StatusErr: broken}, first(stub)},
		{"seed of a new installation, marker of an old one", seed.Inputs{Seed: &stub, Status: seed.StateFinished, Marker: byOther}, first(stub)},
		{
			"seed that the marker was made for: cut before it was erased",
			seed.Inputs{Seed: &stub, Status: seed.StateFinished, Marker: byStub},
			seed.Decision{Action: seed.LaterBoot, Erase: []seed.Source{seed.FromSeed}},
		},
		{
			"cut while the seed was erased",
			seed.Inputs{SeedErr: corrupt, Status: seed.StateFinished, Marker: byStub},
			seed.Decision{Action: seed.LaterBoot, Erase: []seed.Source{seed.FromSeed}},
		},
		{
			"corrupt seed, never set up", seed.Inputs{SeedErr: corrupt, Configs: []seed.Config{firmware}},
			hold("seed partition is corrupt: the config of this machine is lost: " + arm),
		},
		// Later boots.
		{"finished", seed.Inputs{Status: seed.StateFinished, Marker: byStub}, seed.Decision{Action: seed.LaterBoot}},
		{
			"finished, sources that are always there",
			seed.Inputs{Status: seed.StateFinished, Marker: byStub, Configs: []seed.Config{initramfs, firmware, url}},
			seed.Decision{Action: seed.LaterBoot},
		},
		{
			"finished, cut before the ESP's config was removed",
			seed.Inputs{Status: seed.StateFinished, Marker: byESP, Configs: []seed.Config{esp}},
			seed.Decision{Action: seed.LaterBoot, Erase: []seed.Source{seed.FromESP}},
		},
		{
			"finished, cut while it was removed",
			seed.Inputs{Status: seed.StateFinished, Marker: byESP, UsedESP: true},
			seed.Decision{Action: seed.LaterBoot, Erase: []seed.Source{seed.FromESP}},
		},
		{
			"finished, another config on the ESP",
			seed.Inputs{Status: seed.StateFinished, Marker: byStub, Configs: []seed.Config{esp}},
			seed.Decision{Action: seed.LaterBoot, Ignored: []seed.Source{seed.FromESP}},
		},
		// Other sources, in their order.
		{"initramfs", seed.Inputs{Configs: []seed.Config{initramfs, esp, firmware, url}}, first(initramfs)},
		{"ESP", seed.Inputs{Configs: []seed.Config{esp, firmware, url}, Status: seed.StateUnfinished}, first(esp)},
		{"ESP, unreadable state", seed.Inputs{Configs: []seed.Config{esp}, Status: seed.StateUnreadable, StatusErr: broken}, first(esp)},
		{"firmware", seed.Inputs{Configs: []seed.Config{firmware, url}, Status: seed.StateBlank}, first(firmware)},
		{"URL", seed.Inputs{Configs: []seed.Config{url}}, first(url)},
		{
			"a source that is always there does not erase a state that cannot be read",
			seed.Inputs{Configs: []seed.Config{initramfs}, Status: seed.StateUnreadable, StatusErr: broken},
			hold("the state partition cannot be read and a new first boot would erase it: bad superblock: " +
				"repair it (xfs_repair) from another system, or erase it (wipefs -a) to start over"),
		},
		// Nothing to go by.
		{
			"image without identity", seed.Inputs{},
			hold("this machine has an image but no identity: there is no config for a first boot and no state of an earlier one: " + arm + ", or " + give),
		},
		{
			"unfinished and no config", seed.Inputs{Status: seed.StateUnfinished},
			hold("the first boot of this machine was not finished and its config is gone: " + arm + ", or " + give),
		},
		{
			"blank and no config", seed.Inputs{Status: seed.StateBlank},
			hold("the first boot of this machine was not finished and its config is gone: " + arm + ", or " + give),
		},
		{
			"unreadable and no config", seed.Inputs{Status: seed.StateUnreadable, StatusErr: broken},
			hold("the state partition cannot be read: bad superblock: repair it (xfs_repair) from another system, or start over: " + arm + ", or " + give),
		},
		// The state in memory.
		{"memory, seed", seed.Inputs{State: cmdline.Tmpfs, Seed: &stub, Configs: []seed.Config{url}}, first(stub)},
		{"memory, firmware", seed.Inputs{State: cmdline.Tmpfs, Configs: []seed.Config{firmware, url}}, first(firmware)},
		{
			"memory, corrupt seed", seed.Inputs{State: cmdline.Tmpfs, SeedErr: corrupt},
			hold("seed partition is corrupt: the config of this machine is lost: " + arm),
		},
		{
			"memory, nothing", seed.Inputs{State: cmdline.Tmpfs},
			hold("there is no config, and with its state in memory this machine needs one on every boot: " + give),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.in.State == "" {
				tt.in.State = cmdline.Disk
			}
			if diff := cmp.Diff(tt.want, seed.Decide(tt.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
