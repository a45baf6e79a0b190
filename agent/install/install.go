package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/agent/seed"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// Defaults of Options.
const (
	DefaultBlockTries = 5
	DefaultSpanLimit  = 64 * mib
	DefaultDiskWait   = 30 * time.Second
	diskPoll          = time.Second
)

// Options of [Run].
type Options struct {
	// Client speaks to the provisioning server; required.
	Client *client.Client
	// Root is the folder that holds sys and dev, and images.ImageKeysPath if an
	// image must be signed; "" is the running system.
	Root string
	// Runner finds udevadm.
	Runner command.Runner
	// Open opens the selected disk; nil means disk.Open.
	Open func(path string) (disk.Target, error)
	// Retry is for every request. Its Limit is the longest time without any
	// progress; zero means forever: an installer has nothing better to do.
	Retry retry.Policy
	// BlockTries is how often a block may arrive with wrong bytes; zero means
	// DefaultBlockTries.
	BlockTries int
	// SpanLimit is the most stored bytes to ask for at once; zero means
	// DefaultSpanLimit.
	SpanLimit int64
	// DiskWait is how long to wait for a disk that the kernel has not found
	// yet; zero means DefaultDiskWait, a negative one does not wait.
	DiskWait time.Duration
	// Reports tunes the reports; its Interval is also that of the console.
	Reports client.ReporterOptions
	// Console gets plain lines for whoever watches; nil discards them.
	Console io.Writer
	// Log gets what only a debugger wants; nil discards it.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Open == nil {
		o.Open = disk.Open
	}
	if o.BlockTries <= 0 {
		o.BlockTries = DefaultBlockTries
	}
	if o.SpanLimit <= 0 {
		o.SpanLimit = DefaultSpanLimit
	}
	if o.DiskWait == 0 {
		o.DiskWait = DefaultDiskWait
	}
	if o.Reports.Interval <= 0 {
		o.Reports.Interval = client.DefaultInterval
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	o.Console = &lockedWriter{w: o.Console}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Reports.Log == nil {
		o.Reports.Log = o.Log
	}
	if o.Retry.Notify == nil {
		console := o.Console
		o.Retry.Notify = func(err error, delay time.Duration) {
			fmt.Fprintf(console, "k8snode: %v; next try in %v\n", err, delay)
		}
	}
	return o
}

// Run installs the node on this machine and reports how it went. When it
// returns nil, the caller reboots; otherwise the machine shall hold.
func Run(ctx context.Context, opts Options) error {
	opts = opts.withDefaults()
	reporter := client.NewReporter(ctx, opts.Client.Report, opts.Reports)
	in := &installer{opts: opts, reporter: reporter}
	err := in.run(ctx)

	// The last report is sent even when a signal ended the install.
	ctx = context.WithoutCancel(ctx)
	last := api.Report{Phase: api.PhaseInstalled}
	if err != nil {
		last = api.Report{Phase: api.PhaseFailed, Step: in.step, Message: err.Error()}
	}
	if reportErr := reporter.Final(ctx, last); reportErr != nil {
		in.say("the server was not told: %v", reportErr)
	}
	return err
}

type installer struct {
	opts     Options
	reporter *client.Reporter
	step     string
}

func (in *installer) say(format string, args ...any) {
	fmt.Fprintf(in.opts.Console, "k8snode: "+format+"\n", args...)
}

func (in *installer) run(ctx context.Context) error {
	in.step = "plan"
	in.say("installing node %s", in.opts.Client.Node())
	plan, err := in.fetchPlan(ctx)
	if err != nil {
		return err
	}
	if err := in.checkSignature(ctx, plan.Image); err != nil {
		return err
	}
	target, err := in.selectDisk(ctx, plan.Disk)
	if err != nil {
		return err
	}
	blocks, err := in.fetchBlockMap(ctx, plan.Image)
	if err != nil {
		return err
	}
	if err := CheckSectors(blocks, target); err != nil {
		return fmt.Errorf("selecting disk: %w", err)
	}
	layout, err := NewLayout(blocks, target.Size)
	if err != nil {
		return fmt.Errorf("installing on %s: %w", target, err)
	}
	in.say("image %s goes to %s", plan.Image.ID, target)

	path := filepath.Join("/", in.opts.Root, target.Path)
	if err := in.write(ctx, path, plan, blocks, layout); err != nil {
		return fmt.Errorf("installing on %s: %w", target.Path, err)
	}
	in.say("installed on %s", target)
	return nil
}

func (in *installer) fetchPlan(ctx context.Context) (plan api.InstallPlan, err error) {
	err = retry.Do(ctx, in.opts.Retry, func(ctx context.Context) error {
		plan, err = in.opts.Client.Plan(ctx)
		return err
	})
	return plan, err
}

// selectDisk waits for a disk that is slow to appear, not for a choice among
// several to become easier.
func (in *installer) selectDisk(ctx context.Context, want api.DiskSelection) (disk.Disk, error) {
	in.step = "disk"
	in.settle(ctx)
	for waited := time.Duration(0); ; waited += diskPoll {
		disks, err := disk.List(in.opts.Root)
		if err != nil {
			return disk.Disk{}, err
		}
		d, err := disk.Select(disks, want)
		if errors.Is(err, disk.ErrNoMatch) && waited < in.opts.DiskWait && ctx.Err() == nil {
			retry.Sleep(ctx, diskPoll)
			continue
		}
		if err != nil {
			return disk.Disk{}, fmt.Errorf("selecting disk: %w", err)
		}
		return d, nil
	}
}

func (in *installer) fetchBlockMap(ctx context.Context, image api.InstallImage) (images.BlockMap, error) {
	in.step = "plan"
	data, err := in.download(ctx, image.BlockMapURL, maxBlockMap)
	if err != nil {
		return images.BlockMap{}, fmt.Errorf("fetching block map: %w", err)
	}
	if got := digest(data); got != image.BlockMapSHA256 {
		return images.BlockMap{}, fmt.Errorf("fetching block map: sha256 of %s is %s, the plan says %s",
			image.BlockMapURL, got, image.BlockMapSHA256)
	}
	return ParseBlockMap(data)
}

// settle waits for udev; without udev there is nothing to wait for.
func (in *installer) settle(ctx context.Context) {
	if err := in.opts.Runner.Run(ctx, nil, "udevadm", settleArgs()...); err != nil {
		in.opts.Log.Debug("udev did not settle", "error", err)
	}
}

func settleArgs() []string { return []string{"settle", "--timeout=30"} }

// stubAt finds the seed partition in the image's own table and encodes the
// stub for it.
func stubAt(first []byte, blocks images.BlockMap, stub []byte) (Range, []byte, error) {
	table, err := disk.ReadTable(bytes.NewReader(first), blocks.SectorSize)
	if err != nil {
		return Range{}, nil, fmt.Errorf("the image is unusable: %w", err)
	}
	p, err := table.Labelled(images.LabelSeed)
	if err != nil {
		return Range{}, nil, fmt.Errorf("the image is unusable: %w", err)
	}
	if p.Start < headSize || p.Size > blocks.Size-p.Start {
		return Range{}, nil, fmt.Errorf("the image is unusable: its seed partition is out of range")
	}
	data, err := seed.Encode(stub, p.Size)
	if err != nil {
		return Range{}, nil, err
	}
	return Range{p.Start, int64(len(data))}, data, nil
}
