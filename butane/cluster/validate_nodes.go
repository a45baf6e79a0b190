package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
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
	names, macs, boards := seen{}, seen{}, seen{}
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
		c.board(path, n, boards)
		c.links(path, n, macs)
		c.marks(path, n)
		c.disk(path.Field("disk"), n.Disk)
		c.etcdDisk(path.Field("etcdDisk"), n)
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

var uuidRE = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// board checks what a machine is known by besides its interfaces.
func (c *checker) board(path report.Path, n Node, boards seen) {
	if uuid := strings.ToLower(n.UUID); uuid != "" {
		digits := strings.ReplaceAll(uuid, "-", "")
		switch {
		case !uuidRE.MatchString(uuid):
			c.add(path.Field("uuid"), fmt.Sprintf("%q is not a UUID", n.UUID), "write what dmidecode -s system-uuid prints")
		case strings.Count(digits, digits[:1]) >= len(digits)-2:
			c.add(path.Field("uuid"), fmt.Sprintf("%s is in many machines", uuid), "remove it: the machine has no UUID of its own")
		default:
			c.unique(boards, path.Field("uuid"), uuid)
		}
	}
	if n.Serial != "" {
		if strings.TrimSpace(n.Serial) != n.Serial || len(n.Serial) < 3 || len(n.Serial) > 64 {
			c.add(path.Field("serial"), fmt.Sprintf("%q is not a serial number", n.Serial), "write what dmidecode -s system-serial-number prints")
		} else {
			c.unique(boards, path.Field("serial"), n.Serial)
		}
	}
	switch n.LocalBoot {
	case "", "sanboot", "exit", "fail":
	default:
		c.add(path.Field("localBoot"), fmt.Sprintf("there is no way %q to boot the local disk", n.LocalBoot), "use sanboot, exit or fail")
	}
}

func (c *checker) disk(at report.Path, d api.DiskSelection) {
	c.device(at.Field("device"), d.Device)
	if d.MinSizeGiB < 0 {
		c.add(at.Field("minSizeGiB"), fmt.Sprintf("%d is not a size", d.MinSizeGiB), "")
	}
	if d.MaxSizeGiB < 0 || d.MaxSizeGiB > 0 && d.MaxSizeGiB < d.MinSizeGiB {
		c.add(at.Field("maxSizeGiB"), fmt.Sprintf("%d is not a size that a disk of %d GiB or more can have", d.MaxSizeGiB, d.MinSizeGiB), "remove it, or raise it")
	}
}

func (c *checker) device(at report.Path, device string) {
	if device != "" && (!strings.HasPrefix(device, "/dev/") || path.Clean(device) != device) {
		c.add(at, fmt.Sprintf("%q is not a device", device), "write a path below /dev/disk/by-id")
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
