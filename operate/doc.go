// Package operate is day 2: what an operator asks of a cluster that runs, and
// does to it, from outside.
//
// The flow: [Look] gathers [Facts] from the API servers and from etcd, with
// certificates that are minted for the occasion; [PlanRemove], which is pure,
// says what taking a node out of the cluster means, or why it must not be done;
// [Plan.Run] does it, one step after the other; [Diagnose], pure as well, lists
// what is wrong or will expire, the most urgent first.
//
// Promises: no plan costs etcd its quorum; every step may be repeated, so a plan
// that was interrupted is made and run again; what could not be asked is a
// finding, never taken for well.
//
// It switches no machine on or off, and writes no file. Package kube speaks to
// the API servers, package agent/etcd to etcd.
//
// Start with Look.
package operate
