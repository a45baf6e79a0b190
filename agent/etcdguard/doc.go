// Package etcdguard decides, before every start of etcd, how this member may
// start, and makes it a member that votes.
//
// The flow of [Run]: look at the data folder, ask the other members, have the
// pure [Decide] say what follows, do it, and look again, until etcd may start;
// then write whose the data is, and the environment file for etcd's unit.
//
//	a log is there                      → start with it
//	others have a quorum                → remove the own old entry, add a learner, start
//	nobody answers, and this node may   → start an empty cluster, alone
//	anything else                       → wait, and say why
//
// [Promote] makes the learner a voter, once it has caught up.
//
// Promises: a member that lost its log never votes under its old identity, so
// that no cluster forgets what it agreed on; nothing is removed unless those
// that stay have a quorum without it; a data folder that is not a mount point, or
// somebody else's, is refused. No second cluster is begun while any other
// member's port is open, while not all were asked, or unless most machines of the
// cluster were seen, for a while, to run no etcd: a node that is cut off waits.
//
// What it cannot know: whether a machine that runs no etcd has the data of one.
// The one node that may begin a cluster may do so for two hours after its config
// was delivered with --new-cluster; if in that time it is wiped, and the others of
// a cluster that exists are up without their etcd, it begins a second one.
//
// A cluster that lost its quorum is restored from a snapshot only where the cluster
// document says so, by the one node that may begin a cluster, and not while the
// etcd of another one runs.
//
// A control plane may have a second member, of the cluster of events: an Instance
// of its own, guarded in the same way. Start with [Decide].
package etcdguard
