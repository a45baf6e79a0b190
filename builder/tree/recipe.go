package tree

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// FromRecipe returns the files that the recipe itself describes: kernel
// modules, sysctls, journald limits, users, units with their presets, files.
// Sources are read from dir, the recipe's folder.
func FromRecipe(spec images.Spec, dir fs.FS) ([]Entry, error) {
	entries := []Entry{
		text("usr/lib/modules-load.d/90-k8snode.conf", lines(spec.KernelModules)),
		text("usr/lib/sysctl.d/90-k8snode.conf", settings(spec.Sysctls, " = ")),
		text("usr/lib/systemd/journald.conf.d/90-k8snode.conf", "[Journal]\n"+settings(spec.Journald, "=")),
		text("usr/lib/sysusers.d/k8snode.conf", sysusers(spec.Users)),
		text("usr/lib/systemd/system-preset/00-k8snode.preset", presets(spec.Units)),
		// systemd applies presets only where it finds this word.
		text("etc/machine-id", "uninitialized\n"),
	}
	for _, u := range spec.Units {
		base := path.Join("usr/lib/systemd/system", u.Name)
		if u.Source != "" {
			e, err := fromSource(base, u.Source, dir)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
		for _, d := range u.Dropins {
			e, err := fromSource(base+".d/"+d.Name, d.Source, dir)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	for _, f := range spec.Files {
		e, err := fromFile(f, dir)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func fromFile(f images.File, dir fs.FS) (Entry, error) {
	dst := strings.TrimPrefix(f.Path, "/")
	mode := fs.FileMode(f.Mode).Perm()
	switch {
	case f.Symlink != "":
		return Entry{Path: dst, Kind: Symlink, Target: f.Symlink}, nil
	case f.Directory:
		if mode == 0 {
			mode = 0o755
		}
		return Entry{Path: dst, Kind: Dir, Mode: mode}, nil
	}
	e := text(dst, f.Contents)
	if f.Source != "" {
		var err error
		if e, err = fromSource(dst, f.Source, dir); err != nil {
			return Entry{}, err
		}
	}
	if mode != 0 {
		e.Mode = mode
	}
	return e, nil
}

func fromSource(dst, src string, dir fs.FS) (Entry, error) {
	b, err := fs.ReadFile(dir, src)
	if err != nil {
		return Entry{}, fmt.Errorf("adding /%s: reading %q beside the recipe: %w", dst, src, err)
	}
	return Entry{Path: dst, Kind: File, Mode: 0o644, Content: b}, nil
}

func text(dst, content string) Entry {
	return Entry{Path: dst, Kind: File, Mode: 0o644, Content: []byte(content)}
}

func lines(list []string) string {
	var b strings.Builder
	for _, l := range slices.Sorted(slices.Values(list)) {
		b.WriteString(l + "\n")
	}
	return b.String()
}

func settings(m map[string]string, sep string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(k + sep + m[k] + "\n")
	}
	return b.String()
}

func sysusers(users []images.User) string {
	var b strings.Builder
	for _, u := range users {
		home := u.Home
		if home == "" {
			home = "-"
		}
		fmt.Fprintf(&b, "u %s %d - %s\n", u.Name, u.UID, home)
	}
	return b.String()
}

// presets enables what the recipe enables. The last line turns Debian's habit
// of enabling everything around: what is not named, and not enabled by
// Ignition's own preset file, stays off.
func presets(units []images.Unit) string {
	var b strings.Builder
	for _, u := range units {
		if u.Enabled {
			b.WriteString("enable " + u.Name + "\n")
		}
	}
	return b.String()
}

// PresetLast is the preset file that disables all units nobody asked for. Its
// name sorts behind Ignition's 20-ignition.preset and the distribution's.
func PresetLast() Entry {
	return text("usr/lib/systemd/system-preset/99-k8snode-last.preset", "disable *\n")
}
