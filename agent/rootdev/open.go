package rootdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/retry"
)

// Name is that of the mapped device, /dev/mapper/root.
const Name = "root"

// Where things are.
const (
	mapped     = "/dev/mapper/" + Name
	openFile   = "/run/k8snode/root.open"
	mediumDir  = "/run/k8snode/medium"
	fetchDir   = "/run/k8snode/root"
	fetchFile  = fetchDir + "/rootfs.squashfs"
	networkUp  = "/usr/libexec/k8snode/network"
	devicePoll = 200 * time.Millisecond
)

// Defaults of Options.
const (
	// DefaultWait is how long a device may take to appear.
	DefaultWait = 30 * time.Second
	// DefaultPatience is how long a download may go without progress.
	DefaultPatience = 10 * time.Minute
	// DefaultIdle is how long a server may send nothing.
	DefaultIdle = 30 * time.Second
)

// Options of [Open].
type Options struct {
	// Args are the words of the kernel command line.
	Args cmdline.Args
	// Root is the folder that holds dev, sys, proc and run, and the files of the
	// initramfs; "" is the running system.
	Root string
	// Runner finds dmsetup, losetup, modprobe, mount and the script that brings
	// up the network.
	Runner command.Runner
	// Wait is how long a device may take to appear; zero means DefaultWait.
	Wait time.Duration
	// Retry is for a download; its Limit is for the time without progress, zero
	// means DefaultPatience.
	Retry retry.Policy
	// Idle is the longest pause in a download; zero means DefaultIdle.
	Idle time.Duration
	// Client downloads; nil means one that checks no certificates.
	Client *http.Client
	// Console gets plain lines; nil discards them.
	Console io.Writer
}

func (o Options) withDefaults() Options {
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Retry.Limit == 0 {
		o.Retry.Limit = DefaultPatience
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Client == nil {
		o.Client = newHTTPClient()
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	if o.Retry.Notify == nil {
		o.Retry.Notify = func(err error, delay time.Duration) { o.say("%v; next try in %v", err, delay) }
	}
	return o
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Console, "k8snode: "+format+"\n", args...)
}

// damaged begins what a root that does not fit its hash leads to.
const damaged = "the root of this image is damaged"

// anew is the remedy.
const anew = "write or fetch the image anew; kernel, initramfs, command line and root must be of one image"

// Open makes /dev/mapper/root. It does nothing when it has done so already.
func Open(ctx context.Context, opts Options) error {
	o := opts.withDefaults()
	if _, err := os.Stat(o.path(openFile)); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.path(openFile)), 0o755); err != nil {
		return err
	}
	o.say("root: %s", redactedRoot(o.Args.Root))
	device, err := o.find(ctx)
	if err != nil {
		return err
	}
	sb, err := inspect(o.path(device), o.Args.Verity)
	if err != nil {
		return fmt.Errorf("%s: %s: %w: %s", damaged, redactedRoot(o.Args.Root), err, anew)
	}
	// udev learns from dmsetup that the device is complete.
	table := Table(device, o.Args.Verity, sb)
	if err := o.Runner.Run(ctx, nil, "dmsetup", createArgs(table)...); err != nil {
		return fmt.Errorf("opening %s with dm-verity: %w", redactedRoot(o.Args.Root), err)
	}
	if err := o.probe(); err != nil {
		err = fmt.Errorf("%s: %s: it does not match the root hash of the kernel command line (%w): %s",
			damaged, redactedRoot(o.Args.Root), err, anew)
		return errors.Join(err, o.Runner.Run(context.WithoutCancel(ctx), nil, "dmsetup", removeArgs()...))
	}
	// The device exists before it is checked; the mount waits for this file.
	return os.WriteFile(o.path(openFile), nil, 0o644)
}

func createArgs(table string) []string {
	return []string{"create", Name, "--readonly", "--table", table}
}

// removeArgs waits for udev, which may still be reading the device.
func removeArgs() []string { return []string{"remove", "--retry", Name} }

func redactedRoot(r cmdline.Root) string {
	if r.Kind == cmdline.Remote {
		return redacted(r.Value)
	}
	return r.String()
}

// inspect checks what can be checked without hashing.
func inspect(path string, v cmdline.Verity) (Superblock, error) {
	f, err := os.Open(path)
	if err != nil {
		return Superblock{}, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Superblock{}, err
	}
	if want := TotalSize(v); size < want {
		return Superblock{}, fmt.Errorf("it has %d bytes of %d", size, want)
	}
	return ReadSuperblock(f, v)
}

// probe reads what mounting will read, through the hash tree.
func (o Options) probe() error {
	f, err := os.Open(o.path(mapped))
	if err != nil {
		return err
	}
	defer f.Close()
	start, end, err := metadata(f, o.Args.Verity.HashOffset)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.NewSectionReader(f, start, end-start))
	return err
}

// find returns the device with the bytes of the root.
func (o Options) find(ctx context.Context) (string, error) {
	root := o.Args.Root
	switch root.Kind {
	case cmdline.Partition:
		return o.wait(ctx, "/dev/disk/by-partuuid/"+root.Value, "partition "+root.Value)
	case cmdline.Medium:
		return o.fromMedium(ctx)
	case cmdline.File:
		if _, err := os.Stat(o.path(root.Value)); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("there is no %s in the initramfs: let the boot loader load the root as a second initrd with that name "+
				"(iPXE: initrd URL %s)", root.Value, root.Value)
		}
		return o.attach(ctx, root.Value)
	case cmdline.Remote:
		return o.fromNetwork(ctx)
	}
	return "", fmt.Errorf("internal error: unknown kind of root %q", root.Kind)
}

// wait returns link once udev has made it.
func (o Options) wait(ctx context.Context, link, what string) (string, error) {
	for waited := time.Duration(0); ; waited += devicePoll {
		if _, err := os.Stat(o.path(link)); err == nil {
			return link, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if waited >= o.Wait {
			return "", fmt.Errorf("no %s appeared within %v: is the disk or medium there, and was this image written to it? "+
				"This machine has:\n%s", what, o.Wait, o.disks())
		}
		retry.Sleep(ctx, devicePoll)
	}
}

// disks lists what there is, for whoever looks for a missing one.
func (o Options) disks() string {
	disks, err := disk.List(o.Root)
	if err != nil {
		return "  " + err.Error()
	}
	var lines []string
	for _, d := range disks {
		if d.Size > 0 && !strings.HasPrefix(d.Name, "loop") && !strings.HasPrefix(d.Name, "ram") {
			lines = append(lines, "  "+d.String())
		}
	}
	if len(lines) == 0 {
		return "  (no block device)"
	}
	return strings.Join(lines, "\n")
}

// attach makes a loop device of a file.
func (o Options) attach(ctx context.Context, file string) (string, error) {
	// The device node that would load it is not there before udev's.
	if err := o.Runner.Run(ctx, nil, "modprobe", "loop"); err != nil {
		return "", err
	}
	out, err := o.Runner.Output(ctx, "losetup", attachArgs(o.path(file))...)
	if err != nil {
		return "", fmt.Errorf("making a loop device of %s: %w", file, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func attachArgs(file string) []string {
	return []string{"--find", "--show", "--read-only", file}
}

func (o Options) fromMedium(ctx context.Context) (string, error) {
	label := o.Args.Root.Value
	device, err := o.wait(ctx, "/dev/disk/by-label/"+label, "file system labelled "+label)
	if err != nil {
		return "", err
	}
	dir := o.path(mediumDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := o.Runner.Run(ctx, nil, "mount", "-o", "ro", o.path(device), dir); err != nil {
		return "", fmt.Errorf("mounting the medium %s: %w", label, err)
	}
	file := mediumDir + cmdline.RootOnMedium
	if _, err := os.Stat(o.path(file)); err != nil {
		return "", fmt.Errorf("the medium %s has no root: %w", label, err)
	}
	return o.attach(ctx, file)
}

func (o Options) fromNetwork(ctx context.Context) (string, error) {
	size := TotalSize(o.Args.Verity)
	if err := o.checkMemory(size); err != nil {
		return "", err
	}
	if err := o.Runner.Run(ctx, nil, networkUp); err != nil {
		return "", fmt.Errorf("bringing up the network for %s (does a cable have a link, and does a DHCP server answer?): %w",
			redactedRoot(o.Args.Root), err)
	}
	dir := o.path(fetchDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// A tmpfs of its own: that of /run is too small. One page of slack.
	options := fmt.Sprintf("size=%d,mode=0700", size+blockSize)
	if err := o.Runner.Run(ctx, nil, "mount", "-t", "tmpfs", "-o", options, "k8snode-root", dir); err != nil {
		return "", err
	}
	file, err := os.OpenFile(o.path(fetchFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	d := &download{
		client: o.Client, url: o.Args.Root.Value, size: size, file: file,
		policy: o.Retry, idle: o.Idle, say: o.say,
	}
	if err := errors.Join(d.run(ctx), file.Close()); err != nil {
		return "", err
	}
	return o.attach(ctx, fetchFile)
}

// checkMemory says early what the kernel would only say by killing programs.
func (o Options) checkMemory(need int64) error {
	data, err := os.ReadFile(o.path("/proc/meminfo"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 && kib*1024 < need {
			return fmt.Errorf("the root needs %d MiB of memory, of which %d MiB are free: "+
				"give this machine more, or install the image on a disk", need/mib, kib/1024)
		}
	}
	return nil
}
