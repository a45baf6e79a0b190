package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen opens the socket at path with mode 0600. Its folder is made with
// mode 0700 when it is not there; a folder that others can enter, or that
// belongs to somebody else, is an error. A socket that nobody serves any more
// is replaced.
func Listen(path string) (net.Listener, error) {
	if err := listenable(path); err != nil {
		return nil, fmt.Errorf("preparing the admin socket %q: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the admin socket: %w", err)
	}
	// Until here the folder alone has kept others out.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protecting the admin socket: %w", err)
	}
	return l, nil
}

func listenable(path string) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%q is not a folder", dir)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("the folder %q has mode %#o: others can enter it", dir, perm)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the folder %q belongs to user %d", dir, stat.Uid)
	}
	info, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("another file has this name")
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return errors.New("another server uses it")
	}
	return os.Remove(path)
}
