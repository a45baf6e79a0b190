// Package node holds the file that tells the agent on an installed machine
// which node it is. The boot side (package butane) writes it into the node's
// Ignition config; the agent reads it. It is a leaf: data only.
package node

import "time"

// Path of the file on the node; mode 0600.
const Path = "/etc/k8snode/node.json"

// Paths that the boot side fills and the agent uses.
const (
	// PKIDir holds the authorities of a control plane (ca.crt, ca.key,
	// front-proxy-ca.crt, front-proxy-ca.key, sa.key, sa.pub, etcd/ca.crt,
	// apiserver-etcd-client.crt and .key). The agent copies it to
	// /etc/kubernetes/pki before every attempt: kubeadm reset empties that
	// folder, and a worker's join refuses to find a ca.crt in it.
	PKIDir = "/etc/k8snode/pki"
	// InitConfig and JoinConfig are kubeadm documents, mode 0600.
	InitConfig = "/etc/k8snode/kubeadm/init.yaml"
	JoinConfig = "/etc/k8snode/kubeadm/join.yaml"
	// Discovery is a kubeconfig with a short-lived certificate of the group
	// system:bootstrappers:kubeadm:default-node-token. A worker's is delivered;
	// a control plane makes its own. The agent deletes it after the join.
	Discovery = "/etc/k8snode/discovery.conf"
	// EtcdMount is where etcd's partition is mounted; each [Instance] has a
	// folder in it.
	EtcdMount  = "/var/lib/etcd"
	EtcdPKIDir = "/etc/etcd/pki"
	// ImagesDir holds container images in an archive format that both "ctr
	// images import" and "docker load" read: all/*.tar and controlPlane/*.tar.
	ImagesDir = "/usr/share/k8snode/images"
	// ManifestsDir holds manifests applied once after kubeadm init.
	ManifestsDir = "/etc/k8snode/manifests"
	// StateDir holds what the agent remembers.
	StateDir = "/var/lib/k8snode"
	// Done exists once the bootstrap is complete.
	Done = "/var/lib/k8snode/bootstrap.done"
)

// Role of a node, as in the cluster document.
type Role string

// The roles.
const (
	ControlPlane Role = "controlPlane"
	Worker       Role = "worker"
)

// Runtime is what runs containers, as in the cluster document.
type Runtime string

// The runtimes.
const (
	Containerd Runtime = "containerd"
	Docker     Runtime = "docker"
)

// Config is the content of Path.
type Config struct {
	// Cluster is the cluster's name, ClusterID its UUID: a node never joins a
	// cluster of another ID.
	Cluster   string `json:"cluster"`
	ClusterID string `json:"clusterID"`
	// Generation counts how often etcd was restored, from 1 on: members of
	// different ones do not know each other.
	Generation int    `json:"generation"`
	Name       string `json:"name"`
	Role       Role   `json:"role"`
	// Address is the node's IP without prefix length.
	Address string `json:"address"`
	// Kubernetes is the version, v1.37.2.
	Kubernetes string `json:"kubernetes"`
	// Runtime is containerd or docker; empty means containerd.
	Runtime Runtime `json:"runtime,omitempty"`
	// NoProxy says that kubeadm makes no kube-proxy.
	NoProxy bool `json:"noProxy,omitempty"`
	// Endpoint is the URL of the API servers.
	Endpoint string `json:"endpoint"`
	// Etcd is set on control planes, Events on those with a second etcd for
	// events.
	Etcd   *Etcd `json:"etcd,omitempty"`
	Events *Etcd `json:"events,omitempty"`
}

// Etcd tells the guard about an etcd cluster.
type Etcd struct {
	// PeerURL of this member, https.
	PeerURL string `json:"peerURL"`
	// Members maps every member's name to its peer URL, this one included.
	Members map[string]string `json:"members"`
	// Clients maps every member's name to its client URL.
	Clients map[string]string `json:"clients"`
	// GenesisUntil is set on the one node that may start an empty cluster,
	// and only until that moment: initial-cluster-state "new" is never baked
	// (etcd-io/etcd: a wiped member that starts as new forgets what it voted).
	GenesisUntil *time.Time `json:"genesisUntil,omitempty"`
	// Restore is a snapshot on this machine, with which the one node that may
	// start a cluster starts it.
	Restore string `json:"restore,omitempty"`
}
