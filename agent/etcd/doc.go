// Package etcd speaks to the etcd cluster of a node: about its members, and
// about the few keys that control planes agree by.
//
// The flow: [Dial] reads the certificates of the node and connects when it is
// first used; a [Client] asks and changes the members ([Client.Members],
// [Client.AddLearner], [Client.Promote], [Client.Remove]) and the keys
// ([Client.Get], [Client.Create], [Client.Put]).
//
// Promises: what it reads is linearizable, so a member that was cut off never
// answers with the past; every call ends with its context; an answer that says
// nothing is an error, never "absent".
//
// It decides nothing: packages etcdguard and bootstrap do. It is the only
// importer of etcd's client.
package etcd
