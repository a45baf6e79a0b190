// Package butane turns a cluster document into one Butane document per node:
// everything that makes a machine, booted from an image that is the same for
// all, this one node.
//
// The flow: [Generate] computes a [Document] from an [Input] and
// [Document.Marshal] writes it as YAML; package ignition/render makes the
// Ignition config of it. Generate is called when a config is delivered, not
// before, so that what expires (a node's certificates, its join credential)
// begins to age on the machine.
//
// Promises: the same Input with the same random bytes gives the same document.
// No private key of an authority is in a worker's document, and that of etcd's
// authority is in none. A file that holds a secret has mode 0600 or 0640, and
// nothing below /etc/kubernetes is written: kubeadm refuses what it finds there
// (a worker's ca.crt) or empties it (kubeadm reset), so the agent copies from
// the folders that package agent/node names.
//
// The variant is flatcar 1.1.0, which is specification 3.4.0 of Ignition. Of
// Butane's variants it is the one without a distribution in it: fcos, fiot and
// r4e have sugar or checks for their own disk layout and boot loader, openshift
// wraps the result in a MachineConfig. Its mount units (file system check,
// Where, What, Options, RequiredBy=local-fs.target) suit any systemd.
//
// This package does not read files, does not validate clusters (package
// cluster does) and knows nothing of how images are baked: constants that both
// sides share, such as partition labels, are repeated here and compared by a
// test of the command line tool.
//
// Start with [Generate]; [Kubeconfig] makes the operator's access.
package butane
