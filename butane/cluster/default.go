package cluster

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Values of fields that a cluster leaves out.
const (
	DefaultPodSubnet           = "10.244.0.0/16"
	DefaultServiceSubnet       = "10.96.0.0/16"
	DefaultDNSDomain           = "cluster.local"
	DefaultMaxPods             = 110
	DefaultCertificateValidity = Duration(8760 * time.Hour)
	DefaultHeartbeatMillis     = 250
	DefaultElectionMillis      = 2000
	DefaultQuotaGiB            = 6
	DefaultHTTPPort            = 8080
	DefaultTLSPort             = 8443
)

// Modes of kube-proxy.
const (
	ProxyNFTables = "nftables"
	ProxyIPTables = "iptables"
)

// Kinds of pod network.
const (
	CNIBridge = "bridge"
	CNINone   = "none"
)

// nodePodBits is the length of a node's pod prefix, unless set.
const nodePodBits = 24

// Default returns the cluster with the fields that it leaves out filled in.
// The receiver is not changed.
func (c Cluster) Default() Cluster {
	k := &c.Spec.Kubernetes
	fill(&k.PodSubnet, DefaultPodSubnet)
	fill(&k.ServiceSubnet, DefaultServiceSubnet)
	fill(&k.DNSDomain, DefaultDNSDomain)
	fill(&k.ProxyMode, ProxyNFTables)
	fill(&k.MaxPods, DefaultMaxPods)
	fill(&k.CertificateValidity, DefaultCertificateValidity)
	fill(&c.Spec.Etcd.HeartbeatMillis, DefaultHeartbeatMillis)
	fill(&c.Spec.Etcd.ElectionMillis, DefaultElectionMillis)
	fill(&c.Spec.Etcd.QuotaGiB, DefaultQuotaGiB)
	fill(&c.Spec.Network.CNI, CNIBridge)
	fill(&c.Spec.Provision.HTTPPort, DefaultHTTPPort)
	fill(&c.Spec.Provision.TLSPort, DefaultTLSPort)
	c.Spec.Nodes = slices.Clone(c.Spec.Nodes)
	for i := range c.Spec.Nodes {
		fill(&c.Spec.Nodes[i].PodCIDR, nodePodCIDR(k.PodSubnet, i))
	}
	return c
}

// fill sets an empty field.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// nodePodCIDR returns the /24 with that index in subnet, or "" if there is
// none.
func nodePodCIDR(subnet string, index int) string {
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() > nodePodBits || index >= 1<<(nodePodBits-prefix.Bits()) {
		return ""
	}
	base := prefix.Masked().Addr().As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])+uint32(index)<<(32-nodePodBits))
	return netip.PrefixFrom(netip.AddrFrom4(base), nodePodBits).String()
}
