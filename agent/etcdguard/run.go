package etcdguard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// mountInfo lists the mounts of this process: proc_pid_mountinfo(5).
const mountInfo = "/proc/self/mountinfo"

// Options of [Run].
type Options struct {
	Config node.Config
	// Root is put before every path; "" is the running system.
	Root string
	// Now is the time of the decision.
	Now time.Time
	// Mounted reports whether a folder is a mount point; nil asks the kernel.
	Mounted func(path string) (bool, error)
}

// Run decides and writes node.EtcdBootstrapEnv, or removes it when etcd must
// not start.
func Run(opts Options) (Decision, error) {
	if opts.Mounted == nil {
		opts.Mounted = mounted
	}
	out := filepath.Join("/", opts.Root, node.EtcdBootstrapEnv)
	d, err := decide(opts)
	if err != nil {
		// What an earlier start decided must not outlive it.
		if removeErr := os.Remove(out); removeErr != nil && !os.IsNotExist(removeErr) {
			err = fmt.Errorf("%w (and removing %s: %w)", err, out, removeErr)
		}
		return Decision{}, fmt.Errorf("deciding how etcd starts: %w", err)
	}
	if err := atomicfile.Write(out, d.Env(), 0o640); err != nil {
		return Decision{}, fmt.Errorf("deciding how etcd starts: %w", err)
	}
	return d, nil
}

func decide(opts Options) (Decision, error) {
	data := filepath.Join("/", opts.Root, node.EtcdDataDir)
	facts := Facts{Now: opts.Now}
	var err error
	if facts.Mounted, err = opts.Mounted(data); err != nil {
		return Decision{}, err
	}
	if facts.Log, err = hasLog(data); err != nil {
		return Decision{}, err
	}
	return Decide(opts.Config, facts)
}

// hasLog looks for segments of the log. A folder that cannot be read is an
// error: it may hold one.
func hasLog(data string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(data, "member/wal"))
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".wal") {
			return true, nil
		}
	}
	return false, nil
}

func mounted(path string) (bool, error) {
	info, err := os.ReadFile(mountInfo)
	if err != nil {
		return false, err
	}
	return MountedIn(string(info), path), nil
}

// MountedIn reports whether a mountinfo file lists path as a mount point.
func MountedIn(info, path string) bool {
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}
