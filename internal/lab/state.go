package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is identified by its pid and its start time in clock ticks since
// boot: a pid alone may have been given to another program meanwhile.
type processID struct {
	PID     int
	Started uint64
}

// Names of the files in a network's state folder.
const (
	ownerFile     = "owner"     // "PID STARTED"
	processesFile = "processes" // lines of "PID STARTED LABEL"
	keptFile      = "kept"      // exists once the network outlives its owner
)

// identify reads the start time of a running process. The error wraps
// [fs.ErrNotExist] when there is none, or only its remains (a zombie).
func identify(pid int) (processID, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, syscall.ESRCH) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return processID{}, fmt.Errorf("reading process %d: %w", pid, err)
	}
	state, started, err := parseStat(string(stat))
	if err != nil {
		return processID{}, fmt.Errorf("reading process %d: %w", pid, err)
	}
	if state == "Z" || state == "X" {
		return processID{}, fmt.Errorf("reading process %d: it has ended: %w", pid, fs.ErrNotExist)
	}
	return processID{PID: pid, Started: started}, nil
}

// parseStat takes the state and the start time from a line of
// /proc/PID/stat, proc(5). The command's name, in parentheses, may hold
// anything, parentheses included.
func parseStat(stat string) (state string, started uint64, err error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return "", 0, fmt.Errorf("stat %q has no command name", stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 20 {
		return "", 0, fmt.Errorf("stat has %d fields after the command name, want at least 20", len(fields))
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("reading the start time: %w", err)
	}
	return fields[0], started, nil
}

// alive reports whether the process runs, and is the one that was recorded.
func (id processID) alive() bool {
	now, err := identify(id.PID)
	return err == nil && now.Started == id.Started
}

func (id processID) signal(sig syscall.Signal) {
	if id.alive() {
		// It may end between the two calls: then there is nothing to do.
		_ = syscall.Kill(id.PID, sig)
	}
}

func (id processID) String() string {
	return fmt.Sprintf("%d %d", id.PID, id.Started)
}

func parseProcessID(line string) (processID, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return processID{}, fmt.Errorf("process record %q is not \"PID STARTED\"", line)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return processID{}, fmt.Errorf("process record %q: %w", line, err)
	}
	if pid <= 1 {
		return processID{}, fmt.Errorf("process record %q: pid %d is never ours", line, pid)
	}
	started, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return processID{}, fmt.Errorf("process record %q: %w", line, err)
	}
	return processID{PID: pid, Started: started}, nil
}

// claim makes the state folder of a new network and returns its name. The
// folder appears complete, by a rename, so that nobody takes it for stale.
func claim(stateDir, name string) (string, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return "", err
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(stateDir, ".new-")
	if err != nil {
		return "", err
	}
	for file, content := range map[string]string{ownerFile: self.String() + "\n", processesFile: ""} {
		if err := os.WriteFile(filepath.Join(fresh, file), []byte(content), 0o600); err != nil {
			return "", errors.Join(err, os.RemoveAll(fresh))
		}
	}
	for n := 1; ; n++ {
		try := name
		if try == "" {
			try = fmt.Sprintf("k8snode-lab-%d-%d", self.PID, n)
			// Namespaces are the host's, whatever the state folder.
			if _, err := os.Stat(filepath.Join(namespaceDir, try)); err == nil {
				continue
			}
		}
		err := os.Rename(fresh, filepath.Join(stateDir, try))
		if err == nil {
			return try, nil
		}
		if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
			return "", errors.Join(err, os.RemoveAll(fresh))
		}
		if name != "" {
			return "", errors.Join(fmt.Errorf("network %q exists: stop it first", name), os.RemoveAll(fresh))
		}
	}
}

// record appends a started process to the state folder.
func record(state string, id processID, label string) error {
	f, err := os.OpenFile(filepath.Join(state, processesFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", id, label)
	return errors.Join(err, f.Close())
}

// recorded reads the processes of a state folder.
func recorded(state string) ([]processID, error) {
	f, err := os.Open(filepath.Join(state, processesFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ids []processID
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		id, err := parseProcessID(lines.Text())
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, lines.Err()
}

// sweep removes the networks whose owner is dead and that are not kept.
func sweep(ctx context.Context, stateDir string) error {
	names, err := networks(stateDir)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range names {
		state := filepath.Join(stateDir, name)
		if _, err := os.Stat(filepath.Join(state, keptFile)); err == nil {
			continue
		}
		owner, err := os.ReadFile(filepath.Join(state, ownerFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Another sweep is removing it.
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		id, err := parseProcessID(string(owner))
		if err != nil {
			problems = append(problems, fmt.Errorf("reading the owner of %s: %w", state, err))
			continue
		}
		if id.alive() {
			continue
		}
		if err := remove(ctx, stateDir, name); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// networks lists the names of the state folders, sorted.
func networks(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// stopGrace is how long a process may take to end by itself.
const stopGrace = 5 * time.Second

// remove stops the processes of a network, deletes its namespace and forgets
// it. It may be called for a network that is only half there.
func remove(ctx context.Context, stateDir, name string) error {
	state := filepath.Join(stateDir, name)
	ids, err := recorded(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the processes of network %s: %w", name, err)
	}
	if err := end(ctx, ids, stopGrace); err != nil {
		return fmt.Errorf("stopping network %s: %w", name, err)
	}
	if _, err := os.Stat(filepath.Join(namespaceDir, name)); err == nil {
		// What a recorded process left behind lives in our own namespace.
		left, err := namespacePIDs(ctx, name)
		if err != nil {
			return fmt.Errorf("listing what is left in network %s: %w", name, err)
		}
		if err := end(ctx, left, stopGrace); err != nil {
			return fmt.Errorf("stopping what is left in network %s: %w", name, err)
		}
		if _, err := ip(ctx, "netns", "delete", name); err != nil {
			return fmt.Errorf("deleting the namespace: %w", err)
		}
	}
	if err := os.RemoveAll(state); err != nil {
		return fmt.Errorf("forgetting network %s: %w", name, err)
	}
	return nil
}

// end asks processes to stop, and kills those that have not after grace.
func end(ctx context.Context, ids []processID, grace time.Duration) error {
	for _, id := range ids {
		id.signal(syscall.SIGTERM)
	}
	if gone(ctx, ids, grace) {
		return nil
	}
	for _, id := range ids {
		id.signal(syscall.SIGKILL)
	}
	// A cancelled context must not stop the clean-up half way.
	if gone(context.WithoutCancel(ctx), ids, grace) {
		return nil
	}
	return fmt.Errorf("a process of %v outlived its kill", ids)
}

// gone waits for processes to end and reports whether all did.
func gone(ctx context.Context, ids []processID, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		alive := false
		for _, id := range ids {
			alive = alive || id.alive()
		}
		if !alive {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
