package cluster

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/report"
)

// takenPorts are those that something listens on, on every control plane.
var takenPorts = map[int]string{
	22: "SSH", APIServerPort: "the API server",
	2379: "etcd", 2380: "etcd", 2381: "etcd", 2382: "etcd", 2383: "etcd", 2384: "etcd",
	HAProxyAlivePort: "haproxy's own check",
	10248:            "the kubelet", 10249: "kube-proxy", 10250: "the kubelet", 10256: "kube-proxy",
	10257: "the controller manager", 10259: "the scheduler",
}

// HAProxyAlivePort answers, on the loopback, whether haproxy lives.
const HAProxyAlivePort = 8405

// nodePorts is the range of services of type NodePort.
const firstNodePort, lastNodePort = 30000, 32767

func (c *checker) endpoint(s Spec, nets networks) {
	const path report.Path = "spec.endpoint"
	c.endpointName(path.Field("name"), s.Endpoint.Name)
	for i, n := range s.Nodes {
		if n.Name != "" && n.Name == s.Endpoint.Name {
			c.add(path.Field("name"), fmt.Sprintf("%s is the name of spec.nodes[%d]", n.Name, i), "use another one: it stands for every control plane")
		}
	}
	port := path.Field("port")
	proxied := s.HighAvailability.Mode == HAKeepalived
	switch owner, taken := takenPorts[s.Endpoint.Port]; {
	case s.Endpoint.Port < 1 || s.Endpoint.Port > 65535:
		c.add(port, fmt.Sprintf("%d is not a port", s.Endpoint.Port), "")
	case proxied && taken:
		c.add(port, fmt.Sprintf("%d is the port of %s on the same machines: haproxy could not listen", s.Endpoint.Port, owner),
			fmt.Sprintf("use %d", DefaultProxiedPort))
	case proxied && s.Endpoint.Port >= firstNodePort && s.Endpoint.Port <= lastNodePort:
		c.add(port, fmt.Sprintf("%d is a port of services of type NodePort", s.Endpoint.Port), fmt.Sprintf("use %d", DefaultProxiedPort))
	case !proxied && s.Endpoint.VIP == "" && s.Endpoint.Port != APIServerPort:
		c.add(port, fmt.Sprintf("nothing listens on %d: without a VIP, clients reach the API servers themselves", s.Endpoint.Port),
			fmt.Sprintf("use %d, or set vip", APIServerPort))
	}
	if s.Endpoint.VIP != "" {
		c.vip(path.Field("vip"), s, nets)
	}
}

func (c *checker) endpointName(path report.Path, endpoint string) {
	host, _, hasPort := strings.Cut(endpoint, ":")
	_, err := netip.ParseAddr(endpoint)
	_, hostErr := netip.ParseAddr(host)
	switch {
	case endpoint == "":
		c.add(path, "missing", "write the DNS name of the API servers")
	case err == nil || hostErr == nil:
		c.add(path, fmt.Sprintf("%s is an IP address, which could never be given to another machine", endpoint),
			"write a DNS name; every node resolves it by its own /etc/hosts")
	case strings.Contains(endpoint, "://"):
		c.add(path, fmt.Sprintf("%q is a URL", endpoint), "write the DNS name only")
	case hasPort && isDNSName(host):
		c.add(path, fmt.Sprintf("%q has a port", endpoint), "write "+host+", and the port as spec.endpoint.port")
	case !isDNSName(endpoint):
		c.add(path, fmt.Sprintf("%q is not a DNS name", endpoint), "")
	}
}

// vip checks the address of the endpoint. With keepalived it is one of the
// nodes' network: VRRP does not cross a router.
func (c *checker) vip(path report.Path, s Spec, nets networks) {
	addr, err := netip.ParseAddr(s.Endpoint.VIP)
	if err != nil || !addr.Is4() {
		remedy := ""
		if strings.Contains(s.Endpoint.VIP, "/") {
			remedy = "write it without a prefix length"
		}
		c.add(path, fmt.Sprintf("%q is not an IPv4 address", s.Endpoint.VIP), remedy)
		return
	}
	for i, n := range s.Nodes {
		if n.IP() == addr {
			c.add(path, fmt.Sprintf("%s is the address of spec.nodes[%d]", addr, i), "use an address that no machine has")
		}
	}
	for _, other := range []struct{ path, value string }{
		{"spec.network.gateway", s.Network.Gateway}, {"spec.provision.address", s.Provision.Address},
	} {
		if other.value == addr.String() {
			c.add(path, fmt.Sprintf("%s is at %s", addr, other.path), "use an address that no machine has")
		}
	}
	if s.HighAvailability.Mode != HAKeepalived || !nets.machine.IsValid() {
		return
	}
	switch {
	case !nets.machine.Contains(addr):
		c.add(path, fmt.Sprintf("%s is not in the machine network %s, and VRRP does not cross a router", addr, nets.machine), "use an address of the nodes' subnet")
	case nets.machine.Bits() <= 30 && isEdge(netip.PrefixFrom(addr, nets.machine.Bits())):
		c.add(path, fmt.Sprintf("%s is the network or broadcast address of its subnet", addr), "")
	}
}

// maxControlPlanes keeps etcd fast: every write waits for a majority.
const maxControlPlanes = 7

func (c *checker) highAvailability(cl Cluster) {
	const path report.Path = "spec.highAvailability"
	h, controlPlanes := cl.Spec.HighAvailability, cl.ControlPlanes()
	switch count := len(controlPlanes); {
	case count > maxControlPlanes:
		c.add("spec.nodes", fmt.Sprintf("%d control planes are more than etcd is made for", count), "use 3 or 5, at most 7")
	case count > 0 && count%2 == 0:
		c.warn("spec.nodes", fmt.Sprintf("%d control planes survive the loss of no more than %d do, and fail more often", count, count-1), "use an odd number")
	}
	if len(controlPlanes) > 1 && cl.Spec.Endpoint.VIP == "" && h.Mode != HAKeepalived {
		c.warn("spec.endpoint", "several control planes and no virtual address: a client waits for one that is down before it tries the next", "set vip")
	}
	if !c.oneOf(path.Field("mode"), h.Mode, HAKeepalived, HANone) {
		return
	}
	if h.Mode == HANone {
		if h.Preemption != "" || h.VirtualRouterID != 0 || len(h.Instances) > 0 {
			c.add(path.Field("mode"), "the mode none has no VRRP", "remove the other fields, or use keepalived")
		}
		return
	}
	if cl.Spec.Endpoint.VIP == "" {
		c.add("spec.endpoint.vip", "missing", "write an unused address of the nodes' subnet, for keepalived to hold")
	}
	c.oneOf(path.Field("preemption"), h.Preemption, NoPreempt, Preempt)
	if h.Preemption == NoPreempt && h.PreemptDelaySeconds != 0 {
		c.add(path.Field("preemptDelaySeconds"), "there is no delay without preemption", "remove it, or set preemption: preempt")
	}
	// 1000 is the highest that keepalived takes.
	c.between(path.Field("preemptDelaySeconds"), h.PreemptDelaySeconds, 0, 1000)
	c.between(path.Field("advertSeconds"), h.AdvertSeconds, 1, 10)
	c.instances(path, cl)
	c.haproxy(path.Field("haproxy"), h.HAProxy, cl.Spec.Endpoint.Port)
}

func (c *checker) instances(path report.Path, cl Cluster) {
	h := cl.Spec.HighAvailability
	routers, names, vips := seen{}, seen{"apiserver": path}, seen{}
	if cl.Spec.Endpoint.VIP != "" {
		vips[cl.Spec.Endpoint.VIP] = "spec.endpoint.vip"
		c.routerID(routers, path.Field("virtualRouterID"), h.VirtualRouterID)
	}
	for i, in := range h.Instances {
		at := path.Field("instances").Index(i)
		if c.label(at.Field("name"), in.Name) {
			c.unique(names, at.Field("name"), in.Name)
		}
		prefix, err := netip.ParsePrefix(in.VIP)
		if err != nil || !prefix.Addr().Is4() {
			c.add(at.Field("vip"), fmt.Sprintf("%q is not an IPv4 address with a prefix length", in.VIP), "write it as 192.0.2.10/24")
			continue
		}
		c.unique(vips, at.Field("vip"), prefix.Addr().String())
		c.routerID(routers, at.Field("virtualRouterID"), in.VirtualRouterID)
		for _, n := range cl.ControlPlanes() {
			link, ok := n.Link(in.Interface)
			if !ok {
				c.add(at.Field("interface"), fmt.Sprintf("%s has no link %q", n.Name, in.Interface), "name a link that every control plane has")
				break
			}
			if _, ok := n.AddressIn(link, prefix.Masked()); !ok {
				c.add(at.Field("interface"), fmt.Sprintf("%s of %s has no address in %s", in.Interface, n.Name, prefix.Masked()),
					"give it one: VRRP speaks between addresses of the same subnet")
				break
			}
		}
	}
}

func (c *checker) routerID(routers seen, path report.Path, id int) {
	if c.between(path, id, 1, 255) {
		c.unique(routers, path, fmt.Sprint(id))
	}
}

func (c *checker) haproxy(path report.Path, h HAProxy, endpointPort int) {
	c.between(path.Field("maxConnections"), h.MaxConnections, 100, 1_000_000)
	if d := time.Duration(h.ConnectTimeout); d < time.Second || d > time.Minute {
		c.add(path.Field("connectTimeout"), fmt.Sprintf("%s is out of range", h.ConnectTimeout), "use 1s to 1m")
	}
	if d := time.Duration(h.IdleTimeout); d < 10*time.Minute {
		c.add(path.Field("idleTimeout"), fmt.Sprintf("%s would cut \"kubectl logs -f\" and \"exec\"", h.IdleTimeout), "use 10m or more; 4h is the default")
	}
	at := path.Field("statsPort")
	switch owner, taken := takenPorts[h.StatsPort]; {
	case h.StatsPort == 0:
	case h.StatsPort < 0 || h.StatsPort > 65535:
		c.add(at, fmt.Sprintf("%d is not a port", h.StatsPort), "")
	case taken:
		c.add(at, fmt.Sprintf("%d is the port of %s", h.StatsPort, owner), "use 8404")
	case h.StatsPort == endpointPort:
		c.add(at, fmt.Sprintf("%d is the port of the endpoint", h.StatsPort), "use 8404")
	}
}
