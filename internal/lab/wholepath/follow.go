package wholepath

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// phases of a machine's way, in order.
func phases() []api.Phase {
	return []api.Phase{
		api.PhaseRegistered, api.PhaseArmed, api.PhaseInstalling, api.PhaseInstalled,
		api.PhaseConfiguring, api.PhaseBootstrapping, api.PhaseReady,
	}
}

// A follower records when each node reaches each phase.
type follower struct {
	times map[string]*NodeTimes
	last  map[string]string
}

func newFollower(names []string, poweredOn time.Time) *follower {
	f := &follower{times: map[string]*NodeTimes{}, last: map[string]string{}}
	for _, name := range names {
		f.times[name] = &NodeTimes{Name: name, PoweredOn: poweredOn, Reached: map[api.Phase]time.Time{}}
	}
	return f
}

// observe takes what the server says of the nodes at one moment. It returns
// what is new, one line per node, and an error if a node failed or is held.
//
// A phase that was passed between two observations counts as reached at the
// later one.
func (f *follower) observe(at time.Time, nodes []admin.Node) (news []string, err error) {
	for _, n := range nodes {
		times, ok := f.times[n.Name]
		if !ok {
			continue
		}
		if n.Phase == api.PhaseFailed {
			return news, fmt.Errorf("node %s failed in step %q: %s", n.Name, n.Step, n.Message)
		}
		if n.Held {
			return news, fmt.Errorf("node %s is held: it installs again and again", n.Name)
		}
		reached := slices.Index(phases(), n.Phase)
		if reached < 0 {
			return news, fmt.Errorf("node %s is in phase %q, which nobody knows", n.Name, n.Phase)
		}
		for _, p := range phases()[:reached+1] {
			if _, seen := times.Reached[p]; !seen && p != api.PhaseRegistered && p != api.PhaseArmed {
				times.Reached[p] = at
			}
		}
		if now := describe(n); f.last[n.Name] != now {
			f.last[n.Name] = now
			news = append(news, now)
		}
	}
	return news, nil
}

// describe puts the progress of a node into a line, to tenths: every line is
// a sign of life, and not every byte is one.
func describe(n admin.Node) string {
	words := []string{n.Name, string(n.Phase)}
	if n.Step != "" {
		words = append(words, n.Step)
	}
	if n.Total > 0 {
		words = append(words, fmt.Sprintf("%d %%", n.Done*10/n.Total*10))
	}
	return strings.Join(words, " ")
}

// done reports whether every node is ready.
func (f *follower) done() bool {
	for _, times := range f.times {
		if _, ok := times.Reached[api.PhaseReady]; !ok {
			return false
		}
	}
	return true
}

// nodeTimes returns the record, sorted by node.
func (f *follower) nodeTimes() []NodeTimes {
	var all []NodeTimes
	for _, times := range f.times {
		all = append(all, *times)
	}
	slices.SortFunc(all, func(a, b NodeTimes) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// summary is the state of all nodes in one line.
func (f *follower) summary() string {
	var lines []string
	for _, n := range f.nodeTimes() {
		lines = append(lines, f.last[n.Name])
	}
	return strings.Join(lines, ", ")
}
