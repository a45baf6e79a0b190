// Package bootstrap turns an installed machine into a node: it runs kubeadm
// init or kubeadm join, once, and everything around it.
//
// The flow of [Run]: look at the machine and at etcd ([Facts]), ask the pure
// [Decide] for the next [Action], act, and mark the machine as done. systemd
// starts it again after a failure, so every step may find the traces of an
// earlier attempt:
//
//   - what kubeadm left half done is removed with kubeadm reset, which also
//     empties the folder of certificates: they are copied there afterwards;
//   - a record says whether kubeadm was started and whether it succeeded, so
//     that a crash between two steps continues and does not begin again;
//   - etcd says whether a control plane has completed kubeadm init. Until one
//     has, those that want to hold a lock in turn: who dies in it is replaced.
//     Everybody else joins, a control plane with a credential that it signs
//     itself.
//
// After success super-admin.conf and a worker's discovery credential are
// erased, and only then the node is marked as done.
//
// Output of kubeadm is passed on with times; bootstrap tokens and certificate
// keys are replaced in it, because consoles and reports are read by many.
//
// It does not import images, start etcd or label nodes. Start with [Run].
package bootstrap
