package cluster

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// networks are the prefixes of a cluster; one that is not valid is the zero
// Prefix, which overlaps nothing and contains nothing.
type networks struct {
	pod, service, machine netip.Prefix
}

// minServiceAddresses is kubeadm's MinimumAddressesInServiceSubnet.
const minServiceAddresses = 10

// maxServiceHostBits is the size that kubeadm accepts at most for an IPv4
// service subnet.
const maxServiceHostBits = 20

// networks checks the prefixes of the cluster and that they are apart. The
// machine network is that of the first node.
func (c *checker) networks(s Spec) networks {
	const path report.Path = "spec.kubernetes"
	nets := networks{
		pod:     c.prefix(path.Field("podSubnet"), s.Kubernetes.PodSubnet),
		service: c.prefix(path.Field("serviceSubnet"), s.Kubernetes.ServiceSubnet),
	}
	for _, n := range s.Nodes {
		if p := n.Prefix(); p.IsValid() && p.Addr().Is4() {
			nets.machine = p.Masked()
			break
		}
	}
	if nets.service.IsValid() {
		hostBits := 32 - nets.service.Bits()
		if 1<<hostBits < minServiceAddresses {
			c.add(path.Field("serviceSubnet"), fmt.Sprintf("%s has %d addresses, kubeadm wants at least %d", nets.service, 1<<hostBits, minServiceAddresses), "use a /28 or larger")
		}
		if hostBits > maxServiceHostBits {
			c.add(path.Field("serviceSubnet"), fmt.Sprintf("%s is larger than the API server allows", nets.service), "use a /12 or smaller")
		}
	}
	c.apart(path.Field("serviceSubnet"), "the service subnet", nets.service, "the pod subnet", nets.pod)
	c.apart(path.Field("podSubnet"), "the pod subnet", nets.pod, "the machine network", nets.machine)
	c.apart(path.Field("serviceSubnet"), "the service subnet", nets.service, "the machine network", nets.machine)
	return nets
}

// prefix checks an IPv4 prefix without host bits.
func (c *checker) prefix(path report.Path, value string) netip.Prefix {
	p, err := netip.ParsePrefix(value)
	switch {
	case value == "":
		c.add(path, "missing", "")
	case err != nil || !p.Addr().Is4():
		c.add(path, fmt.Sprintf("%q is not an IPv4 prefix", value), "write it as 10.244.0.0/16")
	case p.Masked() != p:
		c.add(path, fmt.Sprintf("%s is an address inside of a prefix", value), "write "+p.Masked().String())
	default:
		return p
	}
	return netip.Prefix{}
}

func (c *checker) apart(path report.Path, aName string, a netip.Prefix, bName string, b netip.Prefix) {
	if a.IsValid() && b.IsValid() && a.Overlaps(b) {
		c.add(path, fmt.Sprintf("%s %s overlaps %s %s", aName, a, bName, b), "choose another prefix")
	}
}

// bridgeAddresses are those of a pod prefix that no pod gets: network,
// broadcast and the bridge.
const bridgeAddresses = 3

// podCIDRs checks the nodes' parts of the pod subnet.
func (c *checker) podCIDRs(s Spec, nets networks) {
	type owned struct {
		prefix netip.Prefix
		path   report.Path
	}
	var earlier []owned
	var without []report.Path
	small := map[int]bool{}
	for i, n := range s.Nodes {
		path := report.Path("spec.nodes").Index(i).Field("podCIDR")
		if n.PodCIDR == "" {
			// Default finds none only where the pod subnet is not valid, which
			// is reported there, or used up.
			without = append(without, path)
			continue
		}
		p := c.prefix(path, n.PodCIDR)
		if !p.IsValid() {
			continue
		}
		if nets.pod.IsValid() && (p.Bits() < nets.pod.Bits() || !nets.pod.Contains(p.Addr())) {
			c.add(path, fmt.Sprintf("%s is not inside the pod subnet %s", p, nets.pod), "")
		}
		for _, other := range earlier {
			if p.Overlaps(other.prefix) {
				c.add(path, fmt.Sprintf("%s overlaps %s of %s", p, other.prefix, other.path.Parent()), "")
				break
			}
		}
		earlier = append(earlier, owned{p, path})
		// Once for each length: a thousand nodes have one mistake.
		if room := 1<<(32-p.Bits()) - bridgeAddresses; s.Kubernetes.Kubelet.MaxPods > room && !small[p.Bits()] {
			small[p.Bits()] = true
			c.add(path, fmt.Sprintf("%s has room for %d pods, maxPods is %d", p, max(room, 0), s.Kubernetes.Kubelet.MaxPods), "use a larger podCIDR, or a smaller maxPods")
		}
	}
	if len(without) > 0 && nets.pod.IsValid() {
		c.add(without[0], fmt.Sprintf("the pod subnet %s has no /%d left for this node%s", nets.pod, nodePodBits, andMore(len(without)-1)),
			"use a larger podSubnet, or set podCIDR")
	}
}

// andMore says that others have the same problem.
func andMore(others int) string {
	switch others {
	case 0:
		return ""
	case 1:
		return " and one more"
	default:
		return fmt.Sprintf(" and %d more", others)
	}
}

func (c *checker) network(n Network, nets networks) {
	const path report.Path = "spec.network"
	if n.Gateway != "" {
		c.machineAddress(path.Field("gateway"), n.Gateway, nets)
	}
	for i, server := range n.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			c.add(path.Field("dns").Index(i), fmt.Sprintf("%q is not an IP address", server), "")
		}
	}
	for i, server := range n.NTP {
		if _, err := netip.ParseAddr(server); err != nil && !isDNSName(server) {
			c.add(path.Field("ntp").Index(i), fmt.Sprintf("%q is neither a DNS name nor an IP address", server), "")
		}
	}
	if n.CNI != CNIBridge && n.CNI != CNINone {
		c.add(path.Field("cni"), fmt.Sprintf("unknown network %q", n.CNI), "use bridge, or none and install one yourself")
	}
	if len(n.NTP) == 0 {
		c.warn(path.Field("ntp"), "no time server: certificates and etcd need clocks that agree", "name one that the nodes reach")
	}
	for i, h := range n.Hosts {
		at := path.Field("hosts").Index(i)
		if _, err := netip.ParseAddr(h.Address); err != nil {
			c.add(at.Field("address"), fmt.Sprintf("%q is not an IP address", h.Address), "")
		}
		if len(h.Names) == 0 {
			c.add(at.Field("names"), "missing", "")
		}
		for j, name := range h.Names {
			if !isDNSName(name) {
				c.add(at.Field("names").Index(j), fmt.Sprintf("%q is not a DNS name", name), "")
			}
		}
	}
}

func (c *checker) provision(p Provision, nets networks) {
	const path report.Path = "spec.provision"
	if p.Address == "" {
		c.add(path.Field("address"), "missing", "write the address of the provisioning server on the machine network")
	} else {
		c.machineAddress(path.Field("address"), p.Address, nets)
	}
	for _, port := range []struct {
		field string
		value int
	}{{"httpPort", p.HTTPPort}, {"tlsPort", p.TLSPort}} {
		if port.value < 1 || port.value > 65535 {
			c.add(path.Field(port.field), fmt.Sprintf("%d is not a port", port.value), "")
		}
	}
	if p.HTTPPort == p.TLSPort {
		c.add(path.Field("tlsPort"), fmt.Sprintf("%d is the httpPort as well", p.TLSPort), "use two ports")
	}
}

// machineAddress checks an IPv4 address of the machine network.
func (c *checker) machineAddress(path report.Path, value string, nets networks) {
	addr, err := netip.ParseAddr(value)
	switch {
	case err != nil || !addr.Is4():
		c.add(path, fmt.Sprintf("%q is not an IPv4 address", value), "")
	case nets.machine.IsValid() && !nets.machine.Contains(addr):
		c.add(path, fmt.Sprintf("%s is not in the machine network %s", addr, nets.machine), "")
	}
}

// isSSHKey reports whether encoded is the public key of that type: RFC 4253
// 6.6 puts the name of the type in front of it.
func isSSHKey(keyType, encoded string) bool {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(data) < 4 {
		return false
	}
	length := binary.BigEndian.Uint32(data)
	return uint64(length) < uint64(len(data)-4) && strings.HasPrefix(string(data[4:]), keyType) && int(length) == len(keyType)
}
