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
// that stay have a quorum without it; no second cluster is begun while any
// other member's port is open, or while not all were asked; a data folder that
// is not a mount point, or somebody else's, is refused.
//
// What it cannot know: whether members that do not answer at all are off or cut
// off. The one node that may begin a cluster may do so for two hours after its
// config was delivered with --new-cluster; if in that time all the others of a
// cluster that exists are off, and this one is wiped, it begins a second one.
//
// It does not restore a cluster that lost its quorum. Start with [Decide].
package etcdguard
