package butane

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
)

// Files of the load balancer and of the virtual addresses.
const (
	haproxyConfig    = "/etc/haproxy/haproxy.cfg"
	haproxyCA        = "/etc/haproxy/kube-ca.crt"
	keepalivedConfig = "/etc/keepalived/keepalived.conf"
	keepalivedCheck  = "/etc/keepalived/check_haproxy.sh"
)

// Priorities of VRRP: distinct, far from 255, which is for the owner of an
// address. There are at most seven control planes.
const (
	firstPriority = 150
	priorityStep  = 10
)

type haproxyData struct {
	MaxConnections int
	ConnectTimeout string
	IdleTimeout    string
	AlivePort      int
	StatsPort      int
	Port           int
	CA             string
	Servers        []serverData
}

type serverData struct {
	Name    string
	Address netip.Addr
	Port    int
}

type keepalivedData struct {
	Name         string
	CheckScript  string
	NoPreempt    bool
	PreemptDelay int
	Advert       int
	Priority     int
	Password     string
	Instances    []instanceData
	// Interfaces are those of the instances, each once.
	Interfaces []string
}

type instanceData struct {
	Name      string
	Interface string
	RouterID  int
	Source    netip.Addr
	Peers     []netip.Addr
	VIP       netip.Prefix
}

// haFiles make the endpoint highly available: haproxy on every control plane
// sends connections to the API servers that are ready, and keepalived moves the
// endpoint's address to a control plane whose haproxy works. Neither needs the
// kubelet: both are there before Kubernetes is.
func haFiles(n node) ([]File, error) {
	if !n.controlPlane() || !n.Cluster.Proxied() {
		return nil, nil
	}
	proxy, err := execute("haproxy.cfg.tmpl", haproxy(n))
	if err != nil {
		return nil, err
	}
	vrrp, err := execute("keepalived.conf.tmpl", keepalived(n))
	if err != nil {
		return nil, err
	}
	check, err := execute("check_haproxy.sh.tmpl", cluster.HAProxyAlivePort)
	if err != nil {
		return nil, err
	}
	return []File{
		file(haproxyConfig, 0o644, proxy),
		file(haproxyCA, 0o644, n.Bundle.Kubernetes.Certificate),
		// It holds the password.
		file(keepalivedConfig, 0o600, vrrp),
		file(keepalivedCheck, 0o755, check),
	}, nil
}

func haproxy(n node) haproxyData {
	h := n.spec.HighAvailability.HAProxy
	data := haproxyData{
		MaxConnections: h.MaxConnections,
		ConnectTimeout: milliseconds(h.ConnectTimeout),
		IdleTimeout:    milliseconds(h.IdleTimeout),
		AlivePort:      cluster.HAProxyAlivePort,
		StatsPort:      h.StatsPort,
		Port:           n.spec.Endpoint.Port,
		CA:             haproxyCA,
	}
	for _, server := range n.Cluster.ControlPlanes() {
		data.Servers = append(data.Servers, serverData{server.Name, server.IP(), cluster.APIServerPort})
	}
	return data
}

// milliseconds writes a time as haproxy reads it, in seconds where it can.
func milliseconds(d cluster.Duration) string {
	if t := time.Duration(d); t%time.Second != 0 {
		return fmt.Sprintf("%dms", t.Milliseconds())
	}
	return fmt.Sprintf("%ds", int(time.Duration(d).Seconds()))
}

func keepalived(n node) keepalivedData {
	h := n.spec.HighAvailability
	data := keepalivedData{
		Name:         n.Name,
		CheckScript:  keepalivedCheck,
		NoPreempt:    h.Preemption == cluster.NoPreempt,
		PreemptDelay: h.PreemptDelaySeconds,
		Advert:       h.AdvertSeconds,
		Password:     n.Bundle.KeepalivedPassword,
	}
	for i, other := range n.Cluster.ControlPlanes() {
		if other.Name == n.Name {
			data.Priority = firstPriority - i*priorityStep
		}
	}
	// The endpoint's address is no part of the subnet's configuration: with the
	// length of one address it adds no route.
	endpoint := cluster.VRRPInstance{
		Name: "apiserver", VIP: n.spec.Endpoint.VIP + "/32", Interface: n.Primary, VirtualRouterID: h.VirtualRouterID,
	}
	data.Instances = append(data.Instances, instance(n, endpoint, n.Prefix().Masked()))
	for _, in := range h.Instances {
		prefix, err := netip.ParsePrefix(in.VIP)
		if err != nil {
			continue // The cluster is valid.
		}
		data.Instances = append(data.Instances, instance(n, in, prefix.Masked()))
	}
	for _, in := range data.Instances {
		if !slices.Contains(data.Interfaces, in.Interface) {
			data.Interfaces = append(data.Interfaces, in.Interface)
		}
	}
	return data
}

// instance speaks between the control planes' addresses of one subnet.
func instance(n node, in cluster.VRRPInstance, subnet netip.Prefix) instanceData {
	data := instanceData{Name: in.Name, Interface: in.Interface, RouterID: in.VirtualRouterID}
	data.VIP, _ = netip.ParsePrefix(in.VIP)
	for _, other := range n.Cluster.ControlPlanes() {
		link, _ := other.Link(in.Interface)
		if in.Name == "apiserver" {
			link, _ = other.Link(other.Primary)
		}
		address, _ := other.AddressIn(link, subnet)
		if other.Name == n.Name {
			data.Source = address
			continue
		}
		data.Peers = append(data.Peers, address)
	}
	return data
}
