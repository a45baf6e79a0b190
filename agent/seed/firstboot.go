package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// Files of this boot, on a tmpfs. The initramfs's units know them.
const (
	// FirstBootFile exists on a first boot; it holds the Config.
	FirstBootFile = "/run/k8snode/firstboot"
	// ConfigFile is where Ignition finds the config.
	ConfigFile = "/run/k8snode/ignition/user.ign"
	// CmdlineFile is what Ignition reads in place of /proc/cmdline, whose
	// ignition.config.url would win over every other source.
	CmdlineFile = "/run/k8snode/ignition/cmdline"
	// BootEnvFile is an EnvironmentFile with STATE and STATE_DEVICE.
	BootEnvFile = "/run/k8snode/boot.env"

	espDir   = "/run/k8snode/esp"
	stateDir = "/run/k8snode/state-probe"
	// sysrootState is where the state is mounted while Ignition runs.
	sysrootState = "/sysroot/var"
)

// Links of udev to the state partition: on the disk that was booted (made by
// our rule), and on any disk.
const (
	bootedState = "/dev/k8snode/state"
	anyState    = "/dev/disk/by-partlabel/" + images.LabelState
)

// DefaultWait is how long a live system waits for its state partition.
const DefaultWait = 30 * time.Second

// Options of [Prepare] and [Finish].
type Options struct {
	// Args are the words of the kernel command line.
	Args cmdline.Args
	// Root is the folder that holds sys, dev and run; "" is the running system.
	Root string
	// Runner finds mount, umount and modprobe.
	Runner command.Runner
	// Wait is how long a live system with its state on a disk waits for that
	// partition; zero means DefaultWait, a negative one does not wait.
	Wait time.Duration
	// Console gets one line for each decision; nil discards them.
	Console io.Writer
}

func (o Options) withDefaults() Options {
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	return o
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Console, "k8snode: "+format+"\n", args...)
}

// Prepare decides whether this is a first boot and, if so, leaves the config
// for Ignition. An error means that the machine shall hold.
func Prepare(ctx context.Context, opts Options) error {
	o := opts.withDefaults()
	if err := o.writeBootEnv(); err != nil {
		return err
	}
	f, err := o.gather(ctx)
	if err != nil {
		return err
	}
	for _, w := range f.warnings {
		o.say("warning: %v", w)
	}
	d := Decide(f.inputs)
	switch d.Action {
	case FirstBoot:
		o.say("first boot: the config comes from %s", d.Config.Source)
		return o.handOver(d.Config, f.content[d.Config.Source])
	case LaterBoot:
		o.say("the first boot of this machine is done, Ignition does not run")
		o.tidy(ctx, d, f)
		return nil
	case Hold:
	}
	return errors.New(d.Reason)
}

// writeBootEnv tells the unit that mounts the state what to mount.
func (o Options) writeBootEnv() error {
	env := "STATE=tmpfs\n"
	if o.Args.State == cmdline.Disk {
		device := anyState
		if o.Args.Root.Kind == cmdline.Partition {
			device = bootedState
		}
		env = "STATE=disk\nSTATE_DEVICE=" + device + "\n"
	}
	return atomicfile.Write(o.path(BootEnvFile), []byte(env), 0o644)
}

// handOver writes the file that starts Ignition last.
func (o Options) handOver(c Config, content []byte) error {
	line := "\n"
	if c.Source == FromURL {
		line = "ignition.config.url=" + o.Args.ConfigURL + line
	} else if err := atomicfile.Write(o.path(ConfigFile), content, 0o600); err != nil {
		return err
	}
	if err := atomicfile.Write(o.path(CmdlineFile), []byte(line), 0o600); err != nil {
		return err
	}
	record, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("internal error: encoding config: %w", err)
	}
	return atomicfile.Write(o.path(FirstBootFile), append(record, '\n'), 0o600)
}

// tidy erases what a power cut has left of sources that were used up. A node
// that works does not stop working because of that.
func (o Options) tidy(ctx context.Context, d Decision, f *found) {
	for _, s := range d.Ignored {
		o.say("warning: the config from %s is not read, because this machine is set up: reinstall it to use that", s)
	}
	for _, s := range d.Erase {
		o.say("erasing the config from %s, which was used up", s)
		if err := o.erase(ctx, s, f.seed, f.esp); err != nil {
			o.say("warning: %v", err)
		}
	}
}

func (o Options) erase(ctx context.Context, s Source, seed, esp Partition) error {
	switch s {
	case FromSeed:
		return Erase(seed)
	case FromESP:
		return o.eraseESP(ctx, esp)
	case FromInitramfs, FromFirmware, FromURL:
		// Nothing of these is on a disk.
	}
	return nil
}

// Finish makes a first boot that succeeded the last one: it brings everything
// to the medium, then writes the marker, then erases the source. With the
// state in memory there is nothing to finish, and the source is needed again.
// Without a first boot it does nothing.
func Finish(ctx context.Context, opts Options) error {
	o := opts.withDefaults()
	data, err := os.ReadFile(o.path(FirstBootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finishing first boot: %w", err)
	}
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("finishing first boot: reading %s: %w", FirstBootFile, err)
	}
	if o.Args.State == cmdline.Tmpfs {
		return nil
	}
	if err := o.finish(ctx, c); err != nil {
		return fmt.Errorf("finishing first boot: %w", err)
	}
	o.say("the first boot is done")
	return nil
}

func (o Options) finish(ctx context.Context, c Config) error {
	var image *tabled
	if o.Args.Root.Kind == cmdline.Partition {
		d, err := findImage(o.Root, o.Args.Root.Value)
		if err != nil {
			return err
		}
		image = &d
	}
	// Ignition has just made it: nothing to wait for.
	o.Wait = -1
	state, ok, err := o.findState(ctx, image)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the config made no partition labelled %q: with k8snode.state=disk it must", images.LabelState)
	}
	// All file systems: Ignition writes to others than the state, too.
	unix.Sync()
	if err := writeMarker(o.path(sysrootState), Marker{Partition: state.GUID, Config: c}); err != nil {
		return err
	}
	var seed, esp Partition
	if image != nil {
		if seed, _, err = image.partition(images.LabelSeed); err != nil {
			return err
		}
		if esp, _, err = image.partition(images.LabelESP); err != nil {
			return err
		}
	}
	return o.erase(ctx, c.Source, seed, esp)
}
