package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/provision/api"
)

// nodes checks what each node has for itself, and the number of nodes.
func (c *checker) nodes(nodes []Node) {
	const list report.Path = "spec.nodes"
	if len(nodes) == 0 {
		c.add(list, "missing", "list at least one node")
		return
	}
	controlPlanes := 0
	names, macs := seen{}, seen{}
	for i, n := range nodes {
		path := list.Index(i)
		if c.label(path.Field("name"), n.Name) {
			c.unique(names, path.Field("name"), n.Name)
		}
		switch n.Role {
		case ControlPlane:
			controlPlanes++
		case Worker:
		case "":
			c.add(path.Field("role"), "missing", "use controlPlane or worker")
		default:
			c.add(path.Field("role"), fmt.Sprintf("unknown role %q", n.Role), "use controlPlane or worker")
		}
		if c.mac(path.Field("mac"), n.MAC) {
			c.unique(macs, path.Field("mac"), n.HardwareAddr().String())
		}
		c.links(path, n, macs)
		c.marks(path, n)
		c.disk(path.Field("disk"), n.Disk)
	}
	if controlPlanes == 0 {
		c.add(list, "no node is a control plane", "give one node the role controlPlane")
	}
}

func (c *checker) mac(path report.Path, value string) bool {
	mac, err := net.ParseMAC(value)
	switch {
	case value == "":
		c.add(path, "missing", "write the address of the interface that the machine boots from")
	case err != nil || len(mac) != 6:
		c.add(path, fmt.Sprintf("%q is not a MAC address", value), "write it as 52:54:00:12:34:56")
	case mac[0]&1 != 0:
		c.add(path, fmt.Sprintf("%s is a group address, no machine has it", mac), "")
	case mac.String() == "00:00:00:00:00:00":
		c.add(path, "the MAC address is zero", "")
	default:
		return true
	}
	return false
}

func (c *checker) disk(at report.Path, d api.DiskSelection) {
	if d.Device != "" && (!strings.HasPrefix(d.Device, "/dev/") || path.Clean(d.Device) != d.Device) {
		c.add(at.Field("device"), fmt.Sprintf("%q is not a device", d.Device), "write a path below /dev/disk/by-id")
	}
	if d.MinSizeGiB < 0 {
		c.add(at.Field("minSizeGiB"), fmt.Sprintf("%d is not a size", d.MinSizeGiB), "")
	}
}

// addresses checks that the nodes' addresses are unique and in one subnet.
func (c *checker) addresses(s Spec, nets networks) {
	taken := seen{}
	for _, server := range []struct {
		path  report.Path
		value string
	}{{"spec.network.gateway", s.Network.Gateway}, {"spec.provision.address", s.Provision.Address}} {
		// The gateway may run the provisioning server.
		if addr, err := netip.ParseAddr(server.value); err == nil {
			taken[addr.String()] = server.path
		}
	}
	for i, n := range s.Nodes {
		path := report.Path("spec.nodes").Index(i).Field("address")
		p := n.Prefix()
		switch {
		case n.Address == "":
			c.add(path, "missing", "write an IPv4 address with its prefix length")
		case !p.IsValid() || !p.Addr().Is4():
			c.add(path, fmt.Sprintf("%q is not an IPv4 address with a prefix length", n.Address), "write it as 192.0.2.11/24")
		case p.Masked() != nets.machine:
			c.add(path, fmt.Sprintf("%s is not in the machine network %s of the first node", p, nets.machine), "give all nodes addresses of one subnet")
		case p.Bits() <= 30 && isEdge(p):
			c.add(path, fmt.Sprintf("%s is the network or broadcast address of its subnet", p.Addr()), "")
		default:
			c.unique(taken, path, p.Addr().String())
		}
	}
}

// isEdge reports whether an address is the first or the last of its prefix.
func isEdge(p netip.Prefix) bool {
	next := p.Addr().Next()
	return p.Masked().Addr() == p.Addr() || !next.IsValid() || !p.Contains(next)
}
