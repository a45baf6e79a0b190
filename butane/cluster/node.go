package cluster

import (
	"net"
	"net/netip"
	"slices"
)

// Node returns the node with that name.
func (c Cluster) Node(name string) (Node, bool) {
	for _, n := range c.Spec.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// ControlPlanes returns the control plane nodes in the order of the document.
func (c Cluster) ControlPlanes() []Node {
	var nodes []Node
	for _, n := range c.Spec.Nodes {
		if n.Role == ControlPlane {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Proxied reports whether clients reach the API servers through haproxy.
func (c Cluster) Proxied() bool { return c.Spec.HighAvailability.Mode == HAKeepalived }

// IP returns the node's address without the prefix length, or the zero Addr if
// Address is not valid.
func (n Node) IP() netip.Addr {
	return n.Prefix().Addr()
}

// Prefix returns the node's address with its prefix length; Masked of it is
// the machine network. It is the zero Prefix if Address is not valid.
func (n Node) Prefix() netip.Prefix {
	prefix, err := netip.ParsePrefix(n.Address)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// HardwareAddr returns the node's MAC, or nil if it is not valid.
func (n Node) HardwareAddr() net.HardwareAddr { return hardwareAddr(n.MAC) }

// HardwareAddr returns the link's MAC, or nil if it has none that is valid.
func (l Link) HardwareAddr() net.HardwareAddr { return hardwareAddr(l.MAC) }

func hardwareAddr(value string) net.HardwareAddr {
	mac, err := net.ParseMAC(value)
	if err != nil || len(mac) != 6 {
		return nil
	}
	return mac
}

// Link returns the link with that name.
func (n Node) Link(name string) (Link, bool) {
	for _, l := range n.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// BondOf returns the name of the bond that the link is a part of, or "".
func (n Node) BondOf(link string) string {
	for _, l := range n.Links {
		if l.Bond != nil && slices.Contains(l.Bond.Links, link) {
			return l.Name
		}
	}
	return ""
}

// VLANsOf returns the names of the VLANs on a link, in the order of the
// document.
func (n Node) VLANsOf(link string) []string {
	var names []string
	for _, l := range n.Links {
		if l.VLAN != nil && l.VLAN.Link == link {
			names = append(names, l.Name)
		}
	}
	return names
}

// topLinks are those that are no part of a bond and have no VLAN on them.
func (n Node) topLinks() []Link {
	var top []Link
	for _, l := range n.Links {
		if n.BondOf(l.Name) == "" && len(n.VLANsOf(l.Name)) == 0 {
			top = append(top, l)
		}
	}
	return top
}

// AddressIn returns the node's address in a subnet, if the link carries one.
func (n Node) AddressIn(l Link, subnet netip.Prefix) (netip.Addr, bool) {
	own := l.Addresses
	if l.Name == n.Primary {
		own = append([]string{n.Address}, own...)
	}
	for _, value := range own {
		if p, err := netip.ParsePrefix(value); err == nil && subnet.Contains(p.Addr()) {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}
