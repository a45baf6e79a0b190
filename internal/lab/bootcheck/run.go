package bootcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
)

// A Scenario is one way to boot an image, and what must come of it.
type Scenario struct {
	// Name is unique: lower-case letters, digits and hyphens.
	Name string
	// SectorSize of the disks that the image must be made for.
	SectorSize int

	perform func(context.Context, *story) error
}

// A story is a scenario that is performed.
type story struct {
	opts     Options
	manifest images.Manifest
	network  *lab.Network
	machines []*machine
	began    time.Time
	measured []Measurement
}

// A Measurement is a time that a scenario took.
type Measurement struct {
	What string
	Took time.Duration
}

// Run performs a scenario and returns what it measured. Everything is stopped
// then; the files remain.
func Run(ctx context.Context, scenario Scenario, opts Options) ([]Measurement, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("boot %s: %w", scenario.Name, err)
	}
	manifest, err := opts.prepare()
	if err != nil {
		return nil, fmt.Errorf("boot %s: %w", scenario.Name, err)
	}
	if got, want := manifest.Disk.SectorSize, scenario.SectorSize; got != want {
		return nil, fmt.Errorf("boot %s: the image is for disks with sectors of %d bytes, want %d", scenario.Name, got, want)
	}
	network, err := lab.New(ctx, lab.Options{StateDir: opts.StateDir, Logger: opts.Logger})
	if err != nil {
		return nil, fmt.Errorf("boot %s: %w", scenario.Name, err)
	}
	s := &story{opts: opts, manifest: manifest, network: network, began: opts.Now()}
	err = scenario.perform(ctx, s)
	if err != nil {
		err = fmt.Errorf("boot %s: %w\n%s", scenario.Name, err, s.where(ctx))
	}
	for _, m := range s.machines {
		m.Guest().Close()
	}
	return s.measured, errors.Join(err, network.Close(ctx))
}

// log reports progress of a machine.
func (s *story) log(message string, m *machine, more ...any) {
	took := s.opts.Now().Sub(m.poweredOn).Round(100 * time.Millisecond)
	s.opts.Logger.Info(message, append([]any{"machine", m.Name(), "since power on", took}, more...)...)
}

// where says where to look after a failure, and what is there.
func (s *story) where(ctx context.Context) string {
	var text strings.Builder
	fmt.Fprintf(&text, "work folder: %s\n", s.opts.Dir)
	for _, m := range s.machines {
		fmt.Fprintf(&text, "journal of %s: %s\n", m.Name(), m.saveJournal(context.WithoutCancel(ctx)))
		fmt.Fprintf(&text, "console of %s, %s, ends:\n%s\n", m.Name(), m.Console(), lab.Tail(m.Console()))
	}
	return text.String()
}
