package operate

import (
	"fmt"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/operate/kube"
)

// Facts are what a cluster says of itself at one moment.
type Facts struct {
	// Version is that of the API server that answered.
	Version string
	Nodes   []kube.Node
	// Members of etcd, of those that any of them named.
	Members []Member
	// Events are the members of the etcd of events, where there is one.
	Events []Member
	// Certificates are those that servers showed.
	Certificates []Certificate
	// Silent is what did not answer, and why.
	Silent []Silence
}

// A Member is one of etcd.
type Member struct {
	// Instance is the etcd; empty means node.Main.
	Instance node.Instance
	ID       uint64
	Name     string
	Learner  bool
	// Endpoint is its client URL.
	Endpoint string
	// Healthy says that it answered.
	Healthy bool
	Leader  bool
	// Size and Quota of its data, in bytes.
	Size, Quota int64
	// Alarms are what it finds wrong itself.
	Alarms []string
}

// A Certificate is one that a server showed, or that a file holds.
type Certificate struct {
	// Of says whose it is: "the API server at 10.0.0.1:6443".
	Of       string
	NotAfter time.Time
}

// A Silence is a question that was not answered.
type Silence struct {
	// What was asked: "etcd at https://10.0.0.1:2379".
	What string
	Err  error
}

// memberOf finds one by the name of its node.
func memberOf(members []Member, node string) (Member, bool) {
	for _, m := range members {
		if m.Name == node {
			return m, true
		}
	}
	return Member{}, false
}

// silences says what did not answer, for an error.
func (f Facts) silences() string {
	var all []string
	for _, s := range f.Silent {
		all = append(all, fmt.Sprintf("%s: %v", s.What, s.Err))
	}
	return strings.Join(all, "; ")
}
