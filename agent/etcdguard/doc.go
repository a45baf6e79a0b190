// Package etcdguard decides, before every start of etcd, whether this member
// may start an empty cluster.
//
// The flow: [Run] looks at the data folder and the node's file, asks the pure
// [Decide], and writes the decision as an environment file for etcd's unit.
//
// The rule exists because a member that lost its log and starts with
// initial-cluster-state "new" forgets what it voted, and may elect a second
// leader beside the first. So "new" is allowed on one node, alone, until one
// moment; everywhere else an empty folder is an error. When a log exists, etcd
// ignores the settings, and "existing" is the answer that stays safe if it is
// lost in between.
//
// A data folder that is not a mount point is refused before anything else: it
// is the empty folder below a partition that did not mount.
//
// It does not talk to other members: joining an existing cluster as a learner
// is not supported, and the cluster document refuses what would need it.
package etcdguard
