package cluster

import (
	"net"
	"net/netip"
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
func (n Node) HardwareAddr() net.HardwareAddr {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil || len(mac) != 6 {
		return nil
	}
	return mac
}
