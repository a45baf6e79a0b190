package cluster

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Values of fields that a cluster leaves out.
const (
	DefaultImageRepository     = "registry.k8s.io"
	DefaultPodSubnet           = "10.244.0.0/16"
	DefaultServiceSubnet       = "10.96.0.0/16"
	DefaultDNSDomain           = "cluster.local"
	DefaultMaxPods             = 110
	DefaultCertificateValidity = Duration(8760 * time.Hour)
	DefaultQuotaGiB            = 6
	DefaultEventsQuotaGiB      = 2
	DefaultBackups             = 7
	DefaultBackupDirectory     = "/var/lib/etcd-backup"
	DefaultHTTPPort            = 8080
	DefaultTLSPort             = 8443
	// DefaultProxiedPort is that of haproxy, which cannot have the API
	// server's on the same machine.
	DefaultProxiedPort = 8443
)

// APIServerPort is that of every API server.
const APIServerPort = 6443

// EtcdOverridesArg is the API server's flag for kinds of objects that another
// etcd keeps.
const EtcdOverridesArg = "etcd-servers-overrides"

// Modes of kube-proxy.
const (
	ProxyNFTables = "nftables"
	ProxyIPTables = "iptables"
	ProxyIPVS     = "ipvs"
	ProxyNone     = "none"
)

// Kinds of pod network.
const (
	CNIBridge = "bridge"
	CNINone   = "none"
)

// Modes of high availability, and of its preemption.
const (
	HAKeepalived = "keepalived"
	HANone       = "none"

	NoPreempt = "nopreempt"
	Preempt   = "preempt"
)

// Runtimes.
const (
	Containerd = "containerd"
	Docker     = "docker"
)

// Ways in which a node gets its address.
const (
	AddressingStatic = "static"
	AddressingDHCP   = "dhcp"
)

// Tunings of etcd, and modes of its compaction.
const (
	TuningSlow = "slow"
	TuningLAN  = "lan"

	CompactPeriodic = "periodic"
	CompactRevision = "revision"
)

// tunings are the times of each tuning in milliseconds. The guide's suit what
// it is for: one slow disk must not cost a leader.
var tunings = map[string]struct{ heartbeat, election int }{
	TuningSlow: {250, 2000},
	TuningLAN:  {100, 1000},
}

// DefaultLink is the name of the interface of a node that lists none.
const DefaultLink = "lan0"

// nodePodBits is the length of a node's pod prefix, unless set.
const nodePodBits = 24

// Default returns the cluster with the fields that it leaves out filled in.
// The receiver is not changed.
func (c Cluster) Default() Cluster {
	k := &c.Spec.Kubernetes
	fill(&k.ImageRepository, DefaultImageRepository)
	fill(&k.PodSubnet, DefaultPodSubnet)
	fill(&k.ServiceSubnet, DefaultServiceSubnet)
	fill(&k.DNSDomain, DefaultDNSDomain)
	fill(&k.CertificateValidity, DefaultCertificateValidity)
	fill(&k.Proxy.Mode, ProxyNFTables)
	k.Kubelet = k.Kubelet.withDefaults()
	k.Patches = slices.Clone(k.Patches)
	for i := range k.Patches {
		fill(&k.Patches[i].Type, "strategic")
	}
	c.Spec.HighAvailability = c.Spec.HighAvailability.withDefaults(c.Spec.Endpoint)
	if c.Spec.HighAvailability.Mode == HAKeepalived {
		fill(&c.Spec.Endpoint.Port, DefaultProxiedPort)
	}
	fill(&c.Spec.Endpoint.Port, APIServerPort)
	c.Spec.Etcd = c.Spec.Etcd.withDefaults()
	fill(&c.Spec.Runtime.Name, Containerd)
	fill(&c.Spec.Network.CNI, CNIBridge)
	fill(&c.Spec.Provision.HTTPPort, DefaultHTTPPort)
	fill(&c.Spec.Provision.TLSPort, DefaultTLSPort)
	c.Spec.Nodes = slices.Clone(c.Spec.Nodes)
	for i := range c.Spec.Nodes {
		fill(&c.Spec.Nodes[i].PodCIDR, nodePodCIDR(k.PodSubnet, i))
		c.Spec.Nodes[i] = c.Spec.Nodes[i].withDefaults()
	}
	return c
}

func (k Kubelet) withDefaults() Kubelet {
	fill(&k.MaxPods, DefaultMaxPods)
	fill(&k.ContainerLogMaxSize, "20Mi")
	fill(&k.ContainerLogMaxFiles, 5)
	fill(&k.ShutdownGracePeriod, Duration(30*time.Second))
	fill(&k.ShutdownGracePeriodCriticalPods, Duration(10*time.Second))
	return k
}

func (h HighAvailability) withDefaults(e Endpoint) HighAvailability {
	if h.Mode == "" {
		h.Mode = HANone
		if e.VIP != "" {
			h.Mode = HAKeepalived
		}
	}
	if h.Mode != HAKeepalived {
		return h
	}
	fill(&h.Preemption, NoPreempt)
	fill(&h.AdvertSeconds, 1)
	if h.Preemption == Preempt {
		fill(&h.PreemptDelaySeconds, 30)
	}
	fill(&h.VirtualRouterID, lastByte(e.VIP))
	h.Instances = slices.Clone(h.Instances)
	for i := range h.Instances {
		fill(&h.Instances[i].VirtualRouterID, lastByte(h.Instances[i].VIP))
	}
	fill(&h.HAProxy.MaxConnections, 8192)
	fill(&h.HAProxy.ConnectTimeout, Duration(5*time.Second))
	// The kubelet's streamingConnectionIdleTimeout.
	fill(&h.HAProxy.IdleTimeout, Duration(4*time.Hour))
	return h
}

func (e Etcd) withDefaults() Etcd {
	fill(&e.Tuning, TuningSlow)
	times := tunings[e.Tuning]
	fill(&e.HeartbeatMillis, times.heartbeat)
	fill(&e.ElectionMillis, times.election)
	fill(&e.QuotaGiB, DefaultQuotaGiB)
	fill(&e.CompactionMode, CompactPeriodic)
	if e.CompactionMode == CompactPeriodic {
		fill(&e.CompactionRetention, "1h")
	}
	if e.Events.Enabled {
		fill(&e.Events.QuotaGiB, DefaultEventsQuotaGiB)
	}
	fill(&e.Generation, 1)
	if e.Backup.Schedule != "" {
		fill(&e.Backup.Keep, DefaultBackups)
		fill(&e.Backup.Directory, DefaultBackupDirectory)
	}
	return e
}

func (n Node) withDefaults() Node {
	fill(&n.Addressing, AddressingStatic)
	n.Links = slices.Clone(n.Links)
	if len(n.Links) == 0 {
		n.Links = []Link{{Name: DefaultLink, MAC: n.MAC}}
	}
	for i, l := range n.Links {
		if l.Bond == nil {
			continue
		}
		bond := *l.Bond
		fill(&bond.Mode, "802.3ad")
		if bond.Mode == "802.3ad" {
			fill(&bond.LACPRate, "fast")
			fill(&bond.HashPolicy, "layer3+4")
		}
		n.Links[i].Bond = &bond
	}
	if top := n.topLinks(); len(top) == 1 {
		fill(&n.Primary, top[0].Name)
	}
	return n
}

// fill sets an empty field.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// lastByte of an IPv4 address or prefix, 0 if it is neither.
func lastByte(value string) int {
	addr, err := netip.ParseAddr(value)
	if err != nil {
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			return 0
		}
		addr = prefix.Addr()
	}
	if !addr.Is4() {
		return 0
	}
	return int(addr.As4()[3])
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
