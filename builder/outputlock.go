package builder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A lock outlives its killed holder for as long as a program that the holder
// was starting has not yet closed its copy of the file: on a cold disk, the time
// to read the program.
const (
	orphanTries = 50
	orphanPause = 100 * time.Millisecond
)

// An OutputBusyError says that another process writes the same output folder.
type OutputBusyError struct {
	// Out is the folder, File the lock, and PID who holds it; "" if it has
	// not yet said so.
	Out, File, PID string
}

func (e *OutputBusyError) Error() string {
	who := "another bake"
	if e.PID != "" {
		who += " (process " + e.PID + ")"
	}
	return fmt.Sprintf("%s writes %s now, it holds %s; wait for it, or name another folder with --out", who, e.Out, e.File)
}

// orphan reports whether the process that took the lock is no more.
func (e *OutputBusyError) orphan() bool {
	pid, err := strconv.Atoi(e.PID)
	return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// LockOutput keeps other bakes away from an output folder until release is
// called. It does not wait for another bake: a folder that one writes is an
// [OutputBusyError]. What an interrupted bake left beside the folder is put in
// order: half an output is removed, and an old one that was moved away is put
// back.
//
// The file ".NAME.lock" beside the folder NAME is the lock, with the number of
// the process in it. It ends with the process, however that ends.
func LockOutput(out string) (release func(), err error) {
	out = filepath.Clean(out)
	parent, name := filepath.Dir(out), filepath.Base(out)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("locking the output: %w", err)
	}
	path := filepath.Join(parent, "."+name+".lock")
	for try := 1; ; try++ {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("locking the output: %w", err)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			f.Close()
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			pid, _ := io.ReadAll(io.LimitReader(f, 32)) // without it the message says less
			f.Close()
			busy := &OutputBusyError{Out: out, File: path, PID: strings.TrimSpace(string(pid))}
			if try > orphanTries || !busy.orphan() {
				return nil, busy
			}
			time.Sleep(orphanPause)
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !isFile(f, path) {
			// Its last holder removed it after we had opened it.
			f.Close()
			continue
		}
		if err := errors.Join(writePID(f), tidy(parent, name)); err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return func() {
			os.Remove(path)
			f.Close()
		}, nil
	}
}

// isFile reports whether the file at path is still the open one.
func isFile(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}

// tidy clears up after a bake that was interrupted while it published: its
// folder is ".NAME-DIGITS", and with ".old" behind that the former output.
func tidy(parent, name string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	left := regexp.MustCompile(`^\.` + regexp.QuoteMeta(name) + `-[0-9]+(\.old)?$`)
	for _, e := range entries {
		m := left.FindStringSubmatch(e.Name())
		if m == nil || !e.IsDir() {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if m[1] != "" {
			_, err := os.Lstat(filepath.Join(parent, name))
			if errors.Is(err, fs.ErrNotExist) {
				err = os.Rename(path, filepath.Join(parent, name))
			}
			if err != nil {
				return err
			}
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
