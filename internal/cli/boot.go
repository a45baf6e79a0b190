package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/qemu"
)

type bootFlags struct {
	ignition, firmware, from, accel string
	memory, diskSize                int
	mac, arguments, keep            string
}

func newBoot(env Env) *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "boot [OUT]",
		Short: "Start an image in QEMU, with its console here",
		Long: `Start the image in the folder OUT (default out/node) in an emulated machine. Its
serial console is on this terminal; Ctrl-A X ends the machine, Ctrl-A H shows
what else there is.

The image is not changed: the disk is an overlay that is removed at the end, or
kept in a file by --keep. The machine's network leads nowhere.

A first boot needs an Ignition config; without one the machine says so and
holds. "k8snode render" writes those of a cluster; such a config knows its
network card by the MAC address, which --mac sets.`,
		Example: `  k8snode boot --ignition node.ign
  k8snode boot out/node --ignition rendered/cp1.ign --mac 52:54:00:6b:00:0b --memory 6144 --keep cp1.qcow2
  k8snode boot --from pxe --ignition node.ign --append systemd.unit=rescue.target
  k8snode boot --from iso --firmware bios --ignition node.ign`,
		Args: oneImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := "out/node"
			if len(args) > 0 {
				out = args[0]
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			return runBoot(cmd.Context(), env, out, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ignition, "ignition", "", "Ignition config of the machine")
	flags.StringVar(&f.firmware, "firmware", "uefi", "uefi or bios")
	flags.StringVar(&f.from, "from", fromDisk, "disk, pxe or iso")
	flags.StringVar(&f.accel, "accel", "", "tcg or kvm (default $K8SNODE_ACCEL, or else tcg)")
	flags.IntVar(&f.memory, "memory", 4096, "memory in MiB")
	flags.IntVar(&f.diskSize, "disk-size", 24, "size of the disk in GiB")
	flags.StringVar(&f.mac, "mac", "52:54:00:6b:00:01", "MAC address of the network card")
	flags.StringVar(&f.arguments, "append", "", "more kernel arguments, with --from pxe")
	flags.StringVar(&f.keep, "keep", "", "file that keeps the disk; one that exists is used again")
	return cmd
}

func oneImage(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one image, got %q", cmd.CommandPath(), args)
	}
	return nil
}

// What a machine boots from.
const (
	fromDisk = "disk"
	fromPXE  = "pxe"
	fromISO  = "iso"
)

// check refuses flags that make no sense together.
func (f bootFlags) check(cmd *cobra.Command) error {
	see := seeHelp(cmd)
	if _, err := qemu.ParseFirmware(f.firmware); err != nil || f.firmware == "" {
		return &usageError{fmt.Sprintf("there is no firmware %q", f.firmware), "use --firmware uefi or --firmware bios"}
	}
	switch f.from {
	case fromDisk, fromPXE, fromISO:
	default:
		return &usageError{fmt.Sprintf("an image does not boot from %q", f.from), "use --from disk, --from pxe or --from iso"}
	}
	if _, err := qemu.ParseAccelerator(f.accel); err != nil {
		return &usageError{err.Error(), "use --accel tcg or --accel kvm"}
	}
	if f.arguments != "" && f.from != fromPXE {
		return &usageError{"--append works with --from pxe only", "kernel arguments of a disk and of an ISO are baked: change spec.kernel.arguments of the recipe"}
	}
	for _, flag := range []string{"keep", "disk-size"} {
		if cmd.Flags().Changed(flag) && f.from != fromDisk {
			return &usageError{fmt.Sprintf("--%s works with --from disk only", flag), "a machine that boots from " + f.from + " has no disk"}
		}
	}
	for flag, n := range map[string]int{"memory": f.memory, "disk-size": f.diskSize} {
		if n <= 0 {
			return &usageError{fmt.Sprintf("--%s must be greater than 0, got %d", flag, n), see}
		}
	}
	return nil
}

func runBoot(ctx context.Context, env Env, out string, f bootFlags) error {
	accelerator, err := qemu.ParseAccelerator(f.accel)
	if f.accel == "" {
		accelerator, err = qemu.ParseAccelerator(env.getenv("K8SNODE_ACCEL"))
	}
	if err != nil {
		return fmt.Errorf("reading K8SNODE_ACCEL: %w", err)
	}
	manifest, err := images.OpenManifest(out)
	if err != nil {
		return err
	}
	if err := f.checkConfig(manifest); err != nil {
		return err
	}
	if err := f.checkHost(qemu.Host()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "k8snode-boot-")
	if err != nil {
		return fmt.Errorf("preparing the machine: %w", err)
	}
	defer os.RemoveAll(dir)
	hw := qemu.Hardware{
		Name: manifest.Name, MemoryMiB: f.memory, CPUs: 2, Accelerator: accelerator,
		Firmware: qemu.Firmware(f.firmware),
		Network:  qemu.Network{MAC: f.mac},
		Boot:     []qemu.Device{qemu.DeviceCDROM, qemu.DeviceDisk},
		Console:  qemu.Console{Stream: env.stream()},
	}
	if hw, err = f.machine(ctx, hw, manifest, out, dir); err != nil {
		return fmt.Errorf("preparing the machine: %w", err)
	}
	return env.runMachine(ctx, hw)
}

// checkConfig reads the Ignition config before a machine does, which takes
// longer.
func (f bootFlags) checkConfig(m images.Manifest) error {
	if f.ignition == "" {
		return nil
	}
	config, err := os.ReadFile(f.ignition)
	if err != nil {
		return fmt.Errorf("reading the Ignition config: %w", err)
	}
	if err := check.Check(config, m.Ignition.MaxSpec); err != nil {
		return fmt.Errorf("%s: %w", f.ignition, err)
	}
	return nil
}

// checkHost reports what of the host is missing, with what installs it.
func (f bootFlags) checkHost(root fs.FS) error {
	problems := []error{qemu.Firmware(f.firmware).Check(root)}
	programs := []string{qemu.Program}
	if f.from == fromDisk {
		programs = append(programs, qemu.ImageProgram)
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			problems = append(problems, fmt.Errorf("looking for %s: %w", program, exec.ErrNotFound))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w\nrun scripts/host-packages.sh test", err)
	}
	return nil
}

// machine puts into the hardware what the machine boots from. What is made for
// it goes to dir, except a disk that is kept.
func (f bootFlags) machine(ctx context.Context, hw qemu.Hardware, m images.Manifest, out, dir string) (qemu.Hardware, error) {
	if f.ignition != "" {
		path, err := filepath.Abs(f.ignition)
		if err != nil {
			return hw, err
		}
		hw.Files = []qemu.File{{Name: qemu.IgnitionFile, Path: path}}
	}
	if hw.Firmware == qemu.UEFI {
		hw.FirmwareVars = filepath.Join(dir, "firmware-vars.fd")
		if err := copyToNew(hw.FirmwareVars, qemu.FirmwareVars); err != nil {
			return hw, err
		}
	}
	var err error
	switch f.from {
	case fromISO:
		hw.CDROM, err = artifact(out, images.ISOFile, images.OutputISO)
	case fromPXE:
		hw.Kernel, err = f.kernel(m, out, dir)
	default:
		hw.Disk, err = f.disk(ctx, m, out, dir)
	}
	return hw, err
}

// artifact is the absolute path of a file of an image.
func artifact(out, name string, from images.Output) (string, error) {
	path, err := filepath.Abs(filepath.Join(out, name))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the image in %s has no %s: bake it with %s in spec.outputs", out, name, from)
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// kernel joins what a network boot loader would fetch.
func (f bootFlags) kernel(m images.Manifest, out, dir string) (qemu.Kernel, error) {
	var paths []string
	for _, name := range []string{images.KernelFile, images.InitrdFile, images.RootFile} {
		path, err := artifact(out, name, images.OutputPXE)
		if err != nil {
			return qemu.Kernel{}, err
		}
		paths = append(paths, path)
	}
	arguments := m.Arguments()
	if f.arguments != "" {
		arguments = append(arguments, f.arguments)
	}
	joined, err := os.Create(filepath.Join(dir, "initrd.img"))
	if err != nil {
		return qemu.Kernel{}, err
	}
	err = qemu.WriteInitrd(joined, paths[1], paths[2], images.InitramfsRoot)
	if err := errors.Join(err, joined.Close()); err != nil {
		return qemu.Kernel{}, err
	}
	return qemu.Kernel{
		Path: paths[0], Initrd: joined.Name(),
		Cmdline: images.LiveCmdline(m.Root, "file:"+images.InitramfsRoot, arguments),
	}, nil
}

// disk is an overlay over the disk image, new or kept.
func (f bootFlags) disk(ctx context.Context, m images.Manifest, out, dir string) (qemu.Disk, error) {
	overlay := filepath.Join(dir, "disk.qcow2")
	if f.keep != "" {
		var err error
		if overlay, err = filepath.Abs(f.keep); err != nil {
			return qemu.Disk{}, err
		}
	}
	disk := qemu.Disk{Path: overlay, Format: "qcow2", SectorSize: m.Disk.SectorSize}
	if _, err := os.Stat(overlay); err == nil {
		return disk, nil
	}
	raw, err := artifact(out, images.RawFile, images.OutputRaw)
	if err != nil {
		return qemu.Disk{}, err
	}
	size := int64(f.diskSize) << 30
	if size < m.Disk.Size {
		return qemu.Disk{}, fmt.Errorf("the image needs a disk of %d bytes, --disk-size %d is %d", m.Disk.Size, f.diskSize, size)
	}
	overlaid := exec.CommandContext(ctx, qemu.ImageProgram, qemu.Overlay(overlay, raw, size)...)
	if said, err := overlaid.CombinedOutput(); err != nil {
		return qemu.Disk{}, fmt.Errorf("making the disk: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return disk, nil
}

// stream says what the console is connected to.
func (env Env) stream() qemu.Stream {
	for _, s := range []any{env.Stdin, env.Stdout} {
		if f, ok := s.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			return qemu.Plain
		}
	}
	return qemu.Terminal
}

// runMachine runs the emulator until the machine is off.
func (env Env) runMachine(ctx context.Context, hw qemu.Hardware) error {
	cmd := exec.CommandContext(ctx, qemu.Program, hw.Args()...)
	cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	if hw.Console.Stream == qemu.Terminal {
		cmd.Stdin = env.Stdin
		fmt.Fprintln(env.Stderr, "k8snode: Ctrl-A X ends the machine")
	}
	// QEMU gives the terminal back before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", qemu.Program, err)
	}
	return nil
}

// copyToNew copies a file.
func copyToNew(target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
