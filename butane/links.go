package butane

import (
	"net/netip"

	"github.com/k8snode/k8snode/butane/cluster"
)

const networkdDir = "/etc/systemd/network"

// linkFileData name an interface, or make a bond or a VLAN.
type linkFileData struct {
	cluster.Link
	// MAC is that of the interface, for a bond that of its first one: switches
	// and DHCP servers know it.
	MAC string
}

type linkNetworkData struct {
	Match     []string
	MTU       int
	Required  bool
	BondName  string
	Preferred bool
	VLANs     []string
	Addresses []string
	DHCP      bool
	Gateway   string
	DNS       []string
	Routes    []routeData
}

type routeData struct {
	Name        string
	Destination string
	Gateway     netip.Addr
}

// linkFiles configure systemd-networkd. An interface gets its name by its MAC,
// as the kernel's names depend on the slot, and two machines must not differ in
// what keepalived is told.
func linkFiles(n node) ([]File, error) {
	var files []File
	for _, l := range n.Links {
		stem := networkdDir + "/10-" + l.Name
		data := linkFileData{Link: l, MAC: l.HardwareAddr().String()}
		name, suffix := "link.link.tmpl", ".link"
		if l.MAC == "" {
			name, suffix = "link.netdev.tmpl", ".netdev"
		}
		if l.Bond != nil {
			first, _ := n.Link(l.Bond.Links[0])
			data.MAC = first.HardwareAddr().String()
		}
		content, err := execute(name, data)
		if err != nil {
			return nil, err
		}
		files = append(files, file(stem+suffix, 0o644, content))

		network, err := execute("link.network.tmpl", linkNetwork(n, l))
		if err != nil {
			return nil, err
		}
		files = append(files, file(stem+".network", 0o644, network))
	}
	return files, nil
}

func linkNetwork(n node, l cluster.Link) linkNetworkData {
	data := linkNetworkData{
		Match:     match(n, l),
		MTU:       l.MTU,
		Required:  l.Name == n.Primary,
		BondName:  n.BondOf(l.Name),
		VLANs:     n.VLANsOf(l.Name),
		Addresses: l.Addresses,
		DHCP:      l.DHCP,
	}
	if bond, ok := n.Link(data.BondName); ok {
		data.Preferred = bond.Bond.PrimaryLink == l.Name
	}
	if l.Name != n.Primary {
		return data
	}
	data.DNS = n.spec.Network.DNS
	data.Routes = podRoutes(n)
	if n.Addressing == cluster.AddressingDHCP {
		data.DHCP = true
		return data
	}
	data.Addresses = append([]string{n.Prefix().String()}, data.Addresses...)
	data.Gateway = n.spec.Network.Gateway
	return data
}

// match finds the link. An interface is found by its MAC, so that it works even
// where it could not be renamed; a part of a bond by the one that it was made
// with, since it takes that of the bond.
func match(n node, l cluster.Link) []string {
	switch {
	case l.MAC == "":
		return []string{"Name=" + l.Name}
	case n.BondOf(l.Name) != "":
		return []string{"PermanentMACAddress=" + l.HardwareAddr().String(), "Type=ether"}
	default:
		return []string{"MACAddress=" + l.HardwareAddr().String(), "Type=ether"}
	}
}

// podRoutes lead to the pods of every other node, with the bridge network.
func podRoutes(n node) []routeData {
	if n.spec.Network.CNI != cluster.CNIBridge {
		return nil
	}
	var routes []routeData
	for _, other := range n.spec.Nodes {
		if other.Name != n.Name {
			routes = append(routes, routeData{other.Name, other.PodCIDR, other.IP()})
		}
	}
	return routes
}
