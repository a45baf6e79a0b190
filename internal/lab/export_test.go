package lab

import (
	"context"
	"log/slog"
)

// For the tests of this package, which are outside of it.
var (
	ParseStat    = parseStat
	QueryMachine = queryMachine
)

// IsRecorded reports whether a process is in a network's record, alive.
func IsRecorded(n *Network, pid int) (bool, error) {
	ids, err := recorded(n.StateDir())
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if id.PID == pid && id.alive() {
			return true, nil
		}
	}
	return false, nil
}

// WatchStart guards a machine that starts.
func WatchStart(ctx context.Context, console string, logger *slog.Logger, off <-chan struct{}, reset func(context.Context) error) {
	startGuard{console: console, reset: reset, logger: logger}.watch(ctx, off)
}
