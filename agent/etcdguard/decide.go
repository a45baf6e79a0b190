package etcdguard

import (
	"fmt"
	"slices"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
)

// Values of ETCD_INITIAL_CLUSTER_STATE.
const (
	StateNew      = "new"
	StateExisting = "existing"
)

// A Step is what the guard does next.
type Step string

// The steps. After Start the guard is done; after Remove, Add and Restore it looks
// again; Wait looks again later; Refuse is for a person.
const (
	Start  Step = "start"
	Remove Step = "remove"
	Add    Step = "add"
	// Restore makes the data from a snapshot.
	Restore Step = "restore"
	Wait    Step = "wait"
	Refuse  Step = "refuse"
)

// Facts are what the guard found on the machine and in the network.
type Facts struct {
	// Mounted says that the data folder is a mount point.
	Mounted bool
	// Log says that a write-ahead log exists.
	Log bool
	// Owner is whose data the folder holds; nil when nobody has used it.
	Owner *Owner
	Now   time.Time
	// Members are those of the cluster, by a peer that has a quorum; nil when
	// no peer answered so.
	Members []etcd.Member
	// Alive are the IDs of members that answered for themselves.
	Alive []uint64
	// Listening are the names of other members one of whose ports is open: an
	// etcd runs there, whatever it says.
	Listening []string
	// Idle are the names of other members whose machine answers, and says that
	// no etcd runs on it.
	Idle []string
	// Silence is why no peer answered, for people.
	Silence string
}

// An Owner is the member that a data folder belongs to.
type Owner struct {
	ClusterID  string `json:"clusterID"`
	Generation int    `json:"generation"`
	Name       string `json:"name"`
}

func ownerOf(cfg node.Config) Owner { return Owner{cfg.ClusterID, cfg.Generation, cfg.Name} }

// A Decision is what to do, and what etcd is told.
type Decision struct {
	Step Step
	// State and Members, of names and peer URLs, are those of Start.
	State   string
	Members map[string]string
	// ID is the member to Remove.
	ID uint64
	// Reason is one sentence, without a full stop.
	Reason string
}

// Decide returns the next step. A node without a valid configuration, or whose
// folder belongs to somebody else, is refused; a node that cannot know is kept
// waiting: nothing that this function returns can make a second cluster, but
// for the one node that may begin one, in its time, alone.
func Decide(cfg node.Config, facts Facts) Decision {
	if d, bad := refuse(cfg, facts); bad {
		return d
	}
	if facts.Log {
		// etcd reads its log and ignores what it is told. "existing" is what
		// stays safe if the log is lost in between.
		return Decision{Step: Start, State: StateExisting, Members: cfg.Etcd.Members, Reason: "the data is there"}
	}
	if facts.Members != nil {
		return rejoin(cfg, facts)
	}
	return begin(cfg, facts)
}

func refuse(cfg node.Config, facts Facts) (Decision, bool) {
	no := func(format string, args ...any) (Decision, bool) {
		return Decision{Step: Refuse, Reason: fmt.Sprintf(format, args...)}, true
	}
	if cfg.Etcd == nil {
		return no("node %q has no etcd member (role %s)", cfg.Name, cfg.Role)
	}
	if own, listed := cfg.Etcd.Members[cfg.Name]; !listed || own != cfg.Etcd.PeerURL {
		return no("the members do not list %q with the peer URL %q", cfg.Name, cfg.Etcd.PeerURL)
	}
	if !facts.Mounted {
		return no("the data folder is not a mount point: its partition did not mount, " +
			"and an empty folder in its place would make this member forget its data")
	}
	if o := facts.Owner; o != nil && (o.ClusterID != cfg.ClusterID || o.Name != cfg.Name) {
		return no("the data folder belongs to member %s of cluster %s, and this is member %s of cluster %s: "+
			"restore the right disk, or install this node again", o.Name, o.ClusterID, cfg.Name, cfg.ClusterID)
	}
	if o := facts.Owner; o != nil && o.Generation != cfg.Generation {
		return no("the data folder is of generation %d of the cluster, and this node's configuration of %d: "+
			"etcd was restored in between; install this node again, without --keep-etcd", o.Generation, cfg.Generation)
	}
	return Decision{}, false
}

// rejoin makes an empty member one of a cluster that works.
func rejoin(cfg node.Config, facts Facts) Decision {
	self := slices.IndexFunc(facts.Members, func(m etcd.Member) bool {
		return m.Name == cfg.Name || slices.Contains(m.PeerURLs, cfg.Etcd.PeerURL)
	})
	if self < 0 {
		return Decision{Step: Add, Reason: "this member has no data and the cluster works"}
	}
	old := facts.Members[self]
	switch {
	case old.Name == "" && old.Learner && slices.Contains(old.PeerURLs, cfg.Etcd.PeerURL):
		// An earlier attempt added it, and it has never run.
		return Decision{Step: Start, State: StateExisting, Members: initialCluster(cfg, facts.Members), Reason: "this member was added as a learner"}
	case slices.Contains(facts.Alive, old.ID):
		return Decision{Step: Wait, Reason: fmt.Sprintf("member %s (%x) is alive somewhere, and this machine is not it: two machines have one identity", cfg.Name, old.ID)}
	case old.Learner:
		return Decision{Step: Remove, ID: old.ID, Reason: "this member lost its data as a learner"}
	}
	voters, alive := 0, 0
	for _, m := range facts.Members {
		if m.Learner || m.ID == old.ID {
			continue
		}
		voters++
		if slices.Contains(facts.Alive, m.ID) {
			alive++
		}
	}
	if need := voters/2 + 1; alive < need {
		return Decision{Step: Wait, Reason: fmt.Sprintf("removing the old entry of this member needs %d of the other %d members, and %d answer", need, voters, alive)}
	}
	return Decision{Step: Remove, ID: old.ID, Reason: "this member lost its data, and the others have a quorum without it"}
}

// initialCluster is what etcd compares with the members of the cluster: each of
// them, and itself under its own name, which it has not told them yet.
func initialCluster(cfg node.Config, members []etcd.Member) map[string]string {
	all := map[string]string{}
	for _, m := range members {
		for _, url := range m.PeerURLs {
			name := m.Name
			if url == cfg.Etcd.PeerURL {
				name = cfg.Name
			}
			if name == "" {
				name = fmt.Sprintf("unstarted-%x", m.ID)
			}
			all[name] = url
		}
	}
	return all
}

// begin is for a member without data that nobody answers.
func begin(cfg node.Config, facts Facts) Decision {
	until := cfg.Etcd.GenesisUntil
	wait := func(format string, args ...any) Decision {
		reason := fmt.Sprintf(format, args...)
		if facts.Silence != "" {
			reason += " (" + facts.Silence + ")"
		}
		return Decision{Step: Wait, Reason: reason}
	}
	switch {
	case until == nil && len(cfg.Etcd.Members) == 1:
		return wait("this member has no data, is the only one, and may not begin a cluster: " +
			"restore a snapshot, or install it again with --new-cluster")
	case until == nil:
		return wait("this member has no data, and no other member answers with a quorum")
	case len(facts.Listening) > 0:
		return wait("this member may begin the cluster, but etcd runs on %v: there is one already, or another one begins", facts.Listening)
	case !facts.Now.Before(*until):
		return wait("this member has no data, and the time to begin the cluster ended at %s (it is %s): "+
			"if there is no cluster yet, install this node again with --new-cluster; otherwise restore a snapshot",
			until.UTC().Format(time.RFC3339), facts.Now.UTC().Format(time.RFC3339))
	}
	if cfg.Etcd.Restore != "" {
		// Machines that are silent may be lost: that is why there is a snapshot.
		return Decision{Step: Restore, Reason: "this member restores the cluster from " + cfg.Etcd.Restore}
	}
	if need := len(cfg.Etcd.Members)/2 + 1; 1+len(facts.Idle) < need {
		return wait("this member may begin the cluster once %d of its %d machines are known to run no etcd, and %d are: "+
			"one that is silent may be cut off, with a cluster that is there", need, len(cfg.Etcd.Members), 1+len(facts.Idle))
	}
	return Decision{
		Step: Start, State: StateNew, Members: map[string]string{cfg.Name: cfg.Etcd.PeerURL},
		Reason: "this member begins the cluster",
	}
}
