package seed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/images"
)

// maxConfig bounds a config.
const maxConfig = 16 << 20

// initramfsFiles are where an archive that is appended to the initramfs may
// leave a config: our folder, and Ignition's own.
func initramfsFiles() []string {
	return []string{"/etc/k8snode/user.ign", "/usr/lib/ignition/user.ign"}
}

// firmwareFile is where the kernel shows QEMU's -fw_cfg name=opt/com.coreos/config.
const firmwareFile = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw"

// Files of the ESP. A config that is used up is renamed before it is
// overwritten: a power cut leaves no half config under the name that counts.
const (
	espFile = "/k8snode/user.ign"
	espUsed = "/k8snode/user.ign.used"
)

// found is all that a machine has.
type found struct {
	inputs Inputs
	// content is the bytes of each config; FromURL has none.
	content map[Source][]byte
	seed    Partition
	// esp has no device when there is none.
	esp Partition
	// warnings are not worth holding for.
	warnings []error
}

func (f *found) add(source Source, content []byte) Config {
	sum := sha256.Sum256(content)
	f.content[source] = content
	return Config{Source: source, SHA256: hex.EncodeToString(sum[:])}
}

// gather looks at everything that a decision needs. The seed partition and
// the ESP are looked for on the disk that was booted: a live system does not
// take the identity of a disk that happens to be there.
func (o Options) gather(ctx context.Context) (*found, error) {
	f := &found{inputs: Inputs{State: o.Args.State}, content: make(map[Source][]byte)}
	var image *tabled
	if o.Args.Root.Kind == cmdline.Partition {
		d, err := findImage(o.Root, o.Args.Root.Value)
		if err != nil {
			return nil, err
		}
		image = &d
		if err := f.readSeed(d); err != nil {
			return nil, err
		}
	}
	for _, path := range initramfsFiles() {
		if err := f.readFile(FromInitramfs, o.path(path)); err != nil {
			return nil, err
		}
	}
	if image != nil {
		if err := o.readESP(ctx, *image, f); err != nil {
			f.warnings = append(f.warnings, err)
		}
	}
	// Built as a module; a machine without it has no fw_cfg either.
	_ = o.Runner.Run(ctx, nil, "modprobe", "-q", "qemu_fw_cfg")
	if err := f.readFile(FromFirmware, o.path(firmwareFile)); err != nil {
		return nil, err
	}
	if o.Args.ConfigURL != "" {
		f.inputs.Configs = append(f.inputs.Configs, Config{Source: FromURL})
	}
	if o.Args.State == cmdline.Disk {
		if err := o.readState(ctx, image, f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *found) readSeed(d tabled) error {
	p, ok, err := d.partition(images.LabelSeed)
	if err != nil || !ok {
		return err
	}
	f.seed = p
	payload, err := Read(p)
	switch {
	case errors.Is(err, ErrEmpty):
	case errors.Is(err, ErrCorrupt):
		f.inputs.SeedErr = err
	case err != nil:
		return err
	default:
		c := f.add(FromSeed, payload)
		f.inputs.Seed = &c
	}
	return nil
}

// readFile adds the file at path, if it exists and no earlier one of the same
// source does.
func (f *found) readFile(source Source, path string) error {
	if _, done := f.content[source]; done {
		return nil
	}
	content, err := readConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the config of %s: %w", source, err)
	}
	f.inputs.Configs = append(f.inputs.Configs, f.add(source, content))
	return nil
}

func readConfig(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxConfig:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxConfig)
	case len(content) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return content, nil
}

func (o Options) readESP(ctx context.Context, image tabled, f *found) error {
	p, ok, err := image.partition(images.LabelESP)
	if err != nil || !ok {
		return err
	}
	f.esp = p
	m := mounter{o.Runner, o.path(espDir)}
	err = m.within(ctx, p, "vfat", "ro", func() error {
		if _, err := os.Stat(filepath.Join(m.dir, espUsed)); err == nil {
			f.inputs.UsedESP = true
		}
		return f.readFile(FromESP, filepath.Join(m.dir, espFile))
	})
	if err != nil {
		return fmt.Errorf("looking for a config on the ESP: %w", err)
	}
	return nil
}

// eraseESP makes the config on the ESP unreadable, then removes it.
func (o Options) eraseESP(ctx context.Context, p Partition) error {
	m := mounter{o.Runner, o.path(espDir)}
	err := m.within(ctx, p, "vfat", "rw,sync", func() error {
		from, used := filepath.Join(m.dir, espFile), filepath.Join(m.dir, espUsed)
		if err := os.Rename(from, used); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		file, err := os.OpenFile(used, os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil {
			err = errors.Join(zero(file, 0, info.Size()), file.Sync())
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		return os.Remove(used)
	})
	if err != nil {
		return fmt.Errorf("removing %s from the ESP: %w", espFile, err)
	}
	return nil
}

// statePoll is how often the disks are looked at again.
const statePoll = time.Second

func (o Options) readState(ctx context.Context, image *tabled, f *found) error {
	p, ok, err := o.findState(ctx, image)
	if err != nil || !ok {
		return err
	}
	m := mounter{o.Runner, o.path(stateDir)}
	f.inputs.Status, f.inputs.Marker, f.inputs.StatusErr = m.status(ctx, p)
	return nil
}

// findState returns the state partition and whether there is one. The disk of
// an installed system is known to be there; a live system waits for disks that
// are slow to appear, because it would make the state anew if it overlooked it.
func (o Options) findState(ctx context.Context, image *tabled) (Partition, bool, error) {
	if image != nil {
		return image.partition(images.LabelState)
	}
	for waited := time.Duration(0); ; waited += statePoll {
		p, ok, err := stateOfAny(o.Root)
		if ok || err != nil || waited >= o.Wait || ctx.Err() != nil {
			return p, ok, err
		}
		if waited == 0 {
			o.say("looking for a state partition for %v", o.Wait)
		}
		retry.Sleep(ctx, statePoll)
	}
}

func stateOfAny(root string) (Partition, bool, error) {
	all, err := tables(root)
	if err != nil {
		return Partition{}, false, err
	}
	var state Partition
	var on string
	for _, d := range all {
		p, ok, err := d.partition(images.LabelState)
		if err != nil {
			return Partition{}, false, err
		}
		if ok && on != "" {
			return Partition{}, false, fmt.Errorf("%s and %s both have a partition labelled %q: "+
				"erase or remove the one that this machine shall not use", on, d.disk.Path, images.LabelState)
		}
		if ok {
			state, on = p, d.disk.Path
		}
	}
	return state, on != "", nil
}
