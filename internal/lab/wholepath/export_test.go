package wholepath

import (
	"encoding/json"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
)

// For the tests of this package, which are outside of it.
var (
	Ask             = ask
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

// Running reads the output of "kubectl get pod" and says whether it runs.
func Running(object []byte) (seen string, running bool, err error) {
	var p pod
	if err := json.Unmarshal(object, &p); err != nil {
		return "", false, err
	}
	seen, running = p.running()
	return seen, running, nil
}
