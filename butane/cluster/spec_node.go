package cluster

import "github.com/k8snode/k8snode/provision/api"

// Network is what the nodes' networks have in common.
type Network struct {
	// Gateway of the nodes' network, empty where there is none.
	Gateway string `yaml:"gateway"`
	// DNS are the addresses of name servers.
	DNS []string `yaml:"dns"`
	// NTP are names or addresses of time servers. Without any, clocks drift,
	// and certificates and etcd with them.
	NTP []string `yaml:"ntp"`
	// Hosts are further lines of every node's /etc/hosts.
	Hosts []Host `yaml:"hosts"`
	// CNI is bridge (reference plugins and static routes, for nodes of one
	// layer-2 segment) or none (the operator installs one).
	CNI string `yaml:"cni"`
}

// Host is a line of /etc/hosts.
type Host struct {
	// Address is an IP address.
	Address string `yaml:"address"`
	// Names are those that it has.
	Names []string `yaml:"names"`
}

// Provision says how a machine reaches the provisioning server.
type Provision struct {
	// Address is the server's address on the machine network.
	Address string `yaml:"address"`
	// HTTPPort serves boot scripts and artifacts.
	HTTPPort int `yaml:"httpPort"`
	// TLSPort serves plans, configs and reports.
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
	// Name is the host name, of the Node object and of the etcd member too.
	Name string `yaml:"name"`
	// Role is controlPlane or worker.
	Role Role `yaml:"role"`
	// MAC is the address of the interface that the machine boots from.
	MAC string `yaml:"mac"`
	// UUID is that of the machine's board (dmidecode -s system-uuid). A machine
	// with a new interface is known by it, and one that has a cable of another is
	// refused.
	UUID string `yaml:"uuid"`
	// Serial is the machine's serial number (dmidecode -s system-serial-number),
	// for the same.
	Serial string `yaml:"serial"`
	// LocalBoot is how a network boot ends in a start from the disk, as the
	// firmware wants it: sanboot (the boot loader starts the disk itself), exit
	// (it ends with success: some BIOSes), or fail (it ends with an error: some
	// UEFI firmware).
	LocalBoot string `yaml:"localBoot"`
	// Address is an IPv4 address with its prefix length.
	Address string `yaml:"address"`
	// Addressing is static, or dhcp where a server gives the node this
	// address: it is in certificates, so it cannot be another one.
	Addressing string `yaml:"addressing"`
	// Links are the node's interfaces, bonds and VLANs. Without any, the
	// interface with the node's MAC is the link lan0.
	Links []Link `yaml:"links"`
	// Primary is the link that carries Address. It may be left out when there
	// is only one that is no part of another.
	Primary string `yaml:"primary"`
	// PodCIDR is the node's part of the pod subnet: a /24 by the node's place
	// in the list, unless set.
	PodCIDR string `yaml:"podCIDR"`
	// Labels of the Node object, which its kubelet sets when it joins. Names of
	// Kubernetes are not a kubelet's to set, but for topology.kubernetes.io and
	// node.kubernetes.io.
	Labels map[string]string `yaml:"labels"`
	// Taints of the Node object from its first moment on, besides that of
	// control planes.
	Taints []Taint `yaml:"taints"`
	// Disk must match exactly one disk of the machine.
	Disk api.DiskSelection `yaml:"disk"`
	// EtcdDisk is a disk for etcd alone, on a control plane; without one, etcd
	// has a partition beside the system. It is emptied when the node is
	// installed, unless etcd's data is kept.
	EtcdDisk *EtcdDisk `yaml:"etcdDisk"`
}

// EtcdDisk names one disk, by one of its fields.
type EtcdDisk struct {
	// Device is a path, best one below /dev/disk/by-id.
	Device string `yaml:"device"`
	// Serial is that of the kernel: lsblk --output NAME,SERIAL.
	Serial string `yaml:"serial"`
	// WWN is that of lsblk --output NAME,WWN.
	WWN string `yaml:"wwn"`
}

// Taint keeps pods off a node that do not tolerate it.
type Taint struct {
	// Key is as that of a label.
	Key string `yaml:"key"`
	// Value may be empty.
	Value string `yaml:"value"`
	// Effect is NoSchedule, PreferNoSchedule or NoExecute.
	Effect string `yaml:"effect"`
}

// Link is an interface (it has a MAC), a bond or a VLAN.
type Link struct {
	// Name is at most 15 letters, digits, hyphens, underscores and dots.
	Name string `yaml:"name"`
	// MAC finds the interface that gets this name.
	MAC string `yaml:"mac"`
	// Bond joins interfaces.
	Bond *Bond `yaml:"bond"`
	// VLAN is a tagged network on another link.
	VLAN *VLAN `yaml:"vlan"`
	// MTU is that of the driver unless set.
	MTU int `yaml:"mtu"`
	// Addresses are further addresses, with prefix length; that of the node
	// belongs to the primary link and is not repeated.
	Addresses []string `yaml:"addresses"`
	// DHCP asks a server for an address of a link that is not the primary one.
	DHCP bool `yaml:"dhcp"`
}

// Bond joins links to one.
type Bond struct {
	// Mode is 802.3ad unless set, or active-backup, balance-rr, balance-xor, broadcast,
	// balance-tlb or balance-alb.
	Mode string `yaml:"mode"`
	// Links are names of links with a MAC.
	Links []string `yaml:"links"`
	// LACPRate is fast or slow, for 802.3ad.
	LACPRate string `yaml:"lacpRate"`
	// HashPolicy is layer2, layer2+3, layer3+4, encap2+3 or encap3+4.
	HashPolicy string `yaml:"hashPolicy"`
	// PrimaryLink is preferred by active-backup.
	PrimaryLink string `yaml:"primaryLink"`
}

// VLAN is a tagged network on a link.
type VLAN struct {
	// ID is 1 to 4094.
	ID int `yaml:"id"`
	// Link is the name of the link below.
	Link string `yaml:"link"`
}
