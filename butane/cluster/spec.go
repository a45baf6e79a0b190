package cluster

import (
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// APIVersion and Kind identify a cluster document.
const (
	APIVersion = "k8snode.io/v1alpha1"
	Kind       = "Cluster"
)

// Cluster is a cluster document: the cluster, its network and its nodes.
type Cluster struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   Metadata `yaml:"metadata"`
	Spec       Spec     `yaml:"spec"`
}

// Metadata names a cluster.
type Metadata struct {
	// Name is an RFC 1123 label.
	Name string `yaml:"name"`
}

// Spec is the content of a Cluster.
type Spec struct {
	Kubernetes Kubernetes `yaml:"kubernetes"`
	Etcd       Etcd       `yaml:"etcd"`
	Network    Network    `yaml:"network"`
	Provision  Provision  `yaml:"provision"`
	// SSHAuthorizedKeys log in as the user core.
	SSHAuthorizedKeys []string `yaml:"sshAuthorizedKeys"`
	Nodes             []Node   `yaml:"nodes"`
}

// Kubernetes holds what kubeadm is told.
type Kubernetes struct {
	// Version has the form v1.37.2 and is that of the image.
	Version string `yaml:"version"`
	// Endpoint is the DNS name of the API servers; every node resolves it by
	// its own /etc/hosts. The port is 6443.
	Endpoint string `yaml:"endpoint"`
	// PodSubnet and ServiceSubnet are IPv4 prefixes; the defaults are
	// 10.244.0.0/16 and 10.96.0.0/16.
	PodSubnet     string `yaml:"podSubnet"`
	ServiceSubnet string `yaml:"serviceSubnet"`
	// DNSDomain is cluster.local by default.
	DNSDomain string `yaml:"dnsDomain"`
	// ProxyMode is nftables (the default) or iptables.
	ProxyMode string `yaml:"proxyMode"`
	// MaxPods is 110 by default; it must fit a node's pod prefix.
	MaxPods int `yaml:"maxPods"`
	// CertSANs are further names and addresses of the API server.
	CertSANs []string `yaml:"certSANs"`
	// CertificateValidity is the life of leaf certificates, 8760h by default.
	CertificateValidity Duration `yaml:"certificateValidity"`
}

// Etcd tunes etcd.
type Etcd struct {
	// HeartbeatMillis and ElectionMillis default to 250 and 2000.
	HeartbeatMillis int `yaml:"heartbeatMillis"`
	ElectionMillis  int `yaml:"electionMillis"`
	// QuotaGiB is the backend quota, 6 by default, 8 at most.
	QuotaGiB int `yaml:"quotaGiB"`
}

// Network is the machine network.
type Network struct {
	// Gateway and DNS may be empty in an isolated network.
	Gateway string   `yaml:"gateway"`
	DNS     []string `yaml:"dns"`
	NTP     []string `yaml:"ntp"`
	// CNI is bridge (reference plugins and static routes, for nodes of one
	// layer-2 segment) or none (the operator installs one).
	CNI string `yaml:"cni"`
}

// Provision says how a machine reaches the provisioning server.
type Provision struct {
	// Address is the server's address on the machine network.
	Address string `yaml:"address"`
	// HTTPPort serves boot scripts and artifacts, 8080 by default.
	HTTPPort int `yaml:"httpPort"`
	// TLSPort serves plans, configs and reports, 8443 by default.
	TLSPort int `yaml:"tlsPort"`
}

// Role of a node.
type Role string

// The roles.
const (
	ControlPlane Role = "controlPlane"
	Worker       Role = "worker"
)

// Node is one machine.
type Node struct {
	Name string `yaml:"name"`
	Role Role   `yaml:"role"`
	// MAC is the address of the interface that the machine boots from and
	// that carries Address.
	MAC string `yaml:"mac"`
	// Address is an IPv4 address with its prefix length.
	Address string `yaml:"address"`
	// PodCIDR is the node's part of the pod subnet: a /24 by the node's place
	// in the list, unless set.
	PodCIDR string `yaml:"podCIDR"`
	// Disk must match exactly one disk of the machine.
	Disk api.DiskSelection `yaml:"disk"`
}

// Duration is a time.Duration written as "8760h".
type Duration time.Duration
