package lab

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"
)

// A start guard presses the reset button of an emulated machine whose kernel
// hangs before its first program runs. Emulation of several processors by
// threads (-accel tcg,thread=multi) does that once in some dozens of starts, in
// the kernel's own code for bringing up processors and patching itself; no test
// of ours is about it.
type startGuard struct {
	console string
	reset   func(context.Context) error
	logger  *slog.Logger
}

const (
	// startSilence is how long a kernel that starts may say nothing: much
	// longer than it takes to unpack the largest initramfs on a busy host.
	startSilence = 2 * time.Minute
	// startResets is how often the button is pressed before the guard lets
	// whoever waits for the machine see it hang.
	startResets = 3
	startPoll   = 5 * time.Second
)

// What a kernel says first, and what it says when its own start is over.
const (
	kernelBegins = "Linux version "
	kernelDone   = "Run /init as init process"
)

// watch guards until the machine is off.
func (g startGuard) watch(ctx context.Context, off <-chan struct{}) {
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	var size int64
	var silent time.Duration
	for resets := 0; resets < startResets; {
		select {
		case <-ctx.Done():
			return
		case <-off:
			return
		case <-tick.C:
		}
		info, err := os.Stat(g.console)
		if err != nil || info.Size() != size {
			silent = 0
			if err == nil {
				size = info.Size()
			}
			continue
		}
		if silent += startPoll; silent < startSilence || !g.starting() {
			continue
		}
		silent = 0
		resets++
		g.logger.Warn("a kernel hangs in its start: reset", "console", g.console, "silent for", startSilence)
		if err := g.reset(ctx); err != nil {
			g.logger.Warn("it was not reset", "console", g.console, "error", err)
		}
	}
}

// starting reports whether the last kernel on the console has not come to its
// first program.
func (g startGuard) starting() bool {
	text, err := readEnd(g.console, tailBytes)
	if err != nil {
		return false
	}
	begin := strings.LastIndex(text, kernelBegins)
	return begin >= 0 && !strings.Contains(text[begin:], kernelDone)
}
