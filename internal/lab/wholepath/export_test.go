package wholepath

import (
	"context"
	"encoding/json"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
)

// For the tests of this package, which are outside of it.
var (
	Ask             = ask
	BakedKubectl    = bakedKubectl
	WhoAsked        = whoAsked
	PodManifest     = podManifest
	ClusterDocument = clusterDocument
)

// Follower is a follower of nodes.
type Follower struct{ f *follower }

func NewFollower(names []string, poweredOn time.Time) Follower {
	return Follower{newFollower(names, poweredOn)}
}

func (f Follower) Observe(at time.Time, nodes []admin.Node) ([]string, error) {
	return f.f.observe(at, nodes)
}

func (f Follower) Done() bool         { return f.f.done() }
func (f Follower) Times() []NodeTimes { return f.f.nodeTimes() }
func (f Follower) Summary() string    { return f.f.summary() }

// Wait performs a wait that looks every millisecond.
func Wait(ctx context.Context, what string, stall time.Duration, now func() time.Time, observe func(context.Context) (string, bool, error)) error {
	return waiter{what: what, every: time.Millisecond, stall: stall, now: now}.until(ctx, observe)
}

// Ready reads the output of "kubectl get nodes" and says who is ready.
func Ready(list []byte, names []string) (seen string, ready bool, err error) {
	var l nodeList
	if err := json.Unmarshal(list, &l); err != nil {
		return "", false, err
	}
	seen, ready = l.allReady(names)
	return seen, ready, nil
}

// PreStaged reads the output of "kubectl get node" and finds CoreDNS.
func PreStaged(object []byte) (string, bool, error) {
	var n node
	if err := json.Unmarshal(object, &n); err != nil {
		return "", false, err
	}
	image, ok := n.preStaged()
	return image, ok, nil
}

// Running reads the output of "kubectl get pod" and says whether it runs.
func Running(object []byte) (seen string, running bool, err error) {
	var p pod
	if err := json.Unmarshal(object, &p); err != nil {
		return "", false, err
	}
	seen, running = p.running()
	return seen, running, nil
}
