package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ownerSuffix ends the name of the file whose lock says that the owner of the
// work folder beside it lives.
const ownerSuffix = ".owner"

// Claim returns the cache with a work folder that is this process's own, and a
// function that gives it back. Work folders whose process has died, by a power
// cut for instance, are removed.
func (c Cache) Claim() (Cache, func(), error) {
	root := filepath.Join(c.Dir, "work")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Cache{}, nil, c.unusable(root, err)
	}
	if err := sweep(root); err != nil {
		return Cache{}, nil, fmt.Errorf("removing what interrupted bakes left in %q: %w", root, err)
	}
	for {
		owner, err := os.CreateTemp(root, "run-*"+ownerSuffix)
		if err != nil {
			return Cache{}, nil, c.unusable(root, err)
		}
		locked, err := tryLock(owner)
		if err != nil {
			owner.Close()
			return Cache{}, nil, c.unusable(owner.Name(), err)
		}
		// Between making and locking it, somebody else may have swept it away.
		if !locked || !isAt(owner, owner.Name()) {
			owner.Close()
			continue
		}
		c.work = strings.TrimSuffix(owner.Name(), ownerSuffix)
		if err := os.Mkdir(c.work, 0o755); err != nil {
			owner.Close()
			return Cache{}, nil, c.unusable(c.work, err)
		}
		return c, func() {
			os.RemoveAll(c.work)
			os.Remove(owner.Name())
			owner.Close()
		}, nil
	}
}

// workRoot is where files are made before they have their name in the cache.
func (c Cache) workRoot() string {
	if c.work != "" {
		return c.work
	}
	return filepath.Join(c.Dir, "work")
}

// tryLock takes the lock of an open file, unless somebody has it. The lock
// ends with the process, however that ends: the system closes its files.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// sweep removes the work folders without a living owner.
func sweep(root string) error {
	owners, err := filepath.Glob(filepath.Join(root, "run-*"+ownerSuffix))
	if err != nil {
		return err
	}
	for _, name := range owners {
		if err := sweepOne(name); err != nil {
			return err
		}
	}
	return nil
}

func sweepOne(name string) error {
	owner, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer owner.Close()
	locked, err := tryLock(owner)
	if err != nil || !locked || !isAt(owner, name) {
		return err
	}
	dir := strings.TrimSuffix(name, ownerSuffix)
	mounted, err := hasMounts(dir)
	if err != nil || mounted {
		// What is mounted there is not ours to remove.
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Remove(name)
}

// hasMounts reports whether something is mounted at or below a folder.
func hasMounts(dir string) (bool, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	dir, err = filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	// proc(5) writes these characters in octal.
	dir = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(dir)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			return true, nil
		}
	}
	return false, nil
}
