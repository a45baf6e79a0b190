package ui

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// tone is how something is shown: the class of a badge. Its text says the same.
type tone string

// The tones.
const (
	quiet tone = "quiet"
	busy  tone = "busy"
	good  tone = "good"
	warn  tone = "warn"
	bad   tone = "bad"
)

// step is a phase of the way of a machine.
type step struct {
	Phase api.Phase
	// State is done, current or ahead.
	State string
}

// way are the phases of an install, in order.
func way() []api.Phase {
	return []api.Phase{
		api.PhaseArmed, api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping, api.PhaseReady,
	}
}

func phaseTone(p api.Phase) tone {
	switch p {
	case api.PhaseReady:
		return good
	case api.PhaseFailed:
		return bad
	case api.PhaseArmed, api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping:
		return busy
	}
	return quiet
}

// underWay reports whether a machine is expected to speak.
func underWay(p api.Phase) bool {
	switch p {
	case api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping:
		return true
	}
	return false
}

// moment is a time with words for it.
type moment struct {
	Time time.Time
	// Words are how long ago it was, or how long it takes until then.
	Words string
}

// Machine is for the attribute datetime.
func (m moment) Machine() string { return m.Time.UTC().Format(time.RFC3339) }

// Full is for people who compare it with a log.
func (m moment) Full() string { return m.Time.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// nodeView is a row of the fleet.
type nodeView struct {
	admin.Node
	Path string
	Tone tone
	// Doing is the step of the phase, with how far it is in percent.
	Doing string
	// Bytes says it in bytes, when the step has any; Percent is 0 to 100.
	Bytes   string
	Percent int64

	// Window is the end of the open window.
	Window *moment
	Report *moment
	// Silent is how long a machine that installs has said nothing; empty when
	// that is not too long.
	Silent string
	// Alarm says that a request was refused lately.
	Alarm bool
	// Refusal is when the newest request was refused.
	Refusal *moment
}

// Attention reports whether somebody should have a look.
func (n nodeView) Attention() bool {
	return n.Phase == api.PhaseFailed || n.Held || n.Alarm || n.Silent != ""
}

func (u *UI) view(n admin.Node, now time.Time) nodeView {
	v := nodeView{Node: n, Path: nodePath(n.Name), Tone: phaseTone(n.Phase), Doing: n.Step}
	if n.Phase == api.PhaseRegistered || n.Phase == api.PhaseArmed {
		v.Doing, v.Message = "", "" // of an install before
	}
	if n.Total > 0 && underWay(n.Phase) {
		v.Percent = min(max(0, percent(n.Done, n.Total)), 100)
		v.Doing = strings.TrimSpace(fmt.Sprintf("%s %d %%", n.Step, v.Percent))
		v.Bytes = bytesOf(n.Done) + " of " + bytesOf(n.Total)
	}
	if n.Open {
		v.Window = &moment{n.WindowEnd, left(n.WindowEnd.Sub(now))}
	}
	if !n.LastReport.IsZero() {
		v.Report = &moment{n.LastReport, ago(now.Sub(n.LastReport))}
		if silence := now.Sub(n.LastReport); underWay(n.Phase) && silence >= u.opts.SilentAfter {
			v.Silent = span(silence)
		}
	}
	if n.LastRefusal != nil {
		v.Refusal = &moment{n.LastRefusal.Time, ago(now.Sub(n.LastRefusal.Time))}
		v.Alarm = now.Sub(n.LastRefusal.Time) < u.opts.AlarmFor
	}
	return v
}

// percent is right for numbers of bytes that a machine made up, too.
func percent(done, total int64) int64 {
	if total > 1<<50 {
		done, total = done>>12, total>>12
	}
	return min(done, total) * 100 / max(total, 1)
}

func nodePath(name string) string { return "/nodes/" + url.PathEscape(name) }

// bytesOf is a number of bytes for people.
func bytesOf(n int64) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case n >= 10*gib:
		return fmt.Sprintf("%d GiB", n/gib)
	case n >= gib:
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= kib:
		return fmt.Sprintf("%d KiB", n/kib)
	}
	return fmt.Sprintf("%d B", n)
}

// span is a length of time in its largest unit, so that it does not change all
// the time.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "less than 1 min"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/day)
}

func ago(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

func left(d time.Duration) string { return span(d) + " left" }
