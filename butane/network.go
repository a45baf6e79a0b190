package butane

import (
	"fmt"
	"net/netip"

	"github.com/k8snode/k8snode/butane/cluster"
)

type hostsData struct {
	Nodes      []namedAddress
	Endpoint   string
	APIServers []netip.Addr
	Extra      []cluster.Host
}

type namedAddress struct {
	Name    string
	Address netip.Addr
}

type resolvData struct {
	DNS     []string
	Address netip.Addr
}

// networkFiles configure names and time.
func networkFiles(n node) ([]File, error) {
	leaves := []struct {
		path, template string
		data           any
	}{
		{"/etc/hosts", "hosts.tmpl", hosts(n)},
		{"/etc/resolv.conf", "resolv.conf.tmpl", resolvData{n.spec.Network.DNS, n.IP()}},
	}
	if len(n.spec.Network.NTP) > 0 {
		leaves = append(leaves, struct {
			path, template string
			data           any
		}{"/etc/chrony/sources.d/k8snode.sources", "k8snode.sources.tmpl", n.spec.Network.NTP})
	}
	var files []File
	for _, leaf := range leaves {
		content, err := execute(leaf.template, leaf.data)
		if err != nil {
			return nil, err
		}
		files = append(files, file(leaf.path, 0o644, content))
	}
	return files, nil
}

// hosts resolves the endpoint to its virtual address. Without one, every
// control plane has a line, on a control plane itself first: during kubeadm
// init and join no other may answer.
func hosts(n node) hostsData {
	data := hostsData{Endpoint: n.spec.Endpoint.Name, Extra: n.spec.Network.Hosts}
	for _, other := range n.spec.Nodes {
		data.Nodes = append(data.Nodes, namedAddress{other.Name, other.IP()})
	}
	if vip, err := netip.ParseAddr(n.spec.Endpoint.VIP); err == nil {
		data.APIServers = []netip.Addr{vip}
		return data
	}
	if n.controlPlane() {
		data.APIServers = append(data.APIServers, n.IP())
	}
	for _, other := range n.Cluster.ControlPlanes() {
		if other.Name != n.Name {
			data.APIServers = append(data.APIServers, other.IP())
		}
	}
	return data
}

type conflist struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Plugins    []any  `json:"plugins"`
}

type bridgePlugin struct {
	Type        string        `json:"type"`
	Bridge      string        `json:"bridge"`
	IsGateway   bool          `json:"isGateway"`
	IPMasq      bool          `json:"ipMasq"`
	HairpinMode bool          `json:"hairpinMode"`
	IPAM        hostLocalIPAM `json:"ipam"`
}

type hostLocalIPAM struct {
	Type    string          `json:"type"`
	DataDir string          `json:"dataDir"`
	Ranges  [][]subnetRange `json:"ranges"`
	Routes  []ipamRoute     `json:"routes"`
}

type subnetRange struct {
	Subnet string `json:"subnet"`
}

type ipamRoute struct {
	Destination string `json:"dst"`
}

type portmapPlugin struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities"`
}

// podNetworkFiles configure the reference plugins bridge, host-local and
// portmap (https://www.cni.dev/plugins/current/).
func podNetworkFiles(n node) ([]File, error) {
	if n.spec.Network.CNI != cluster.CNIBridge {
		return nil, nil
	}
	const path = "/etc/cni/net.d/10-k8snode.conflist"
	content, err := marshalJSON(conflist{
		CNIVersion: "1.0.0",
		Name:       "k8snode",
		Plugins: []any{
			bridgePlugin{
				Type:        "bridge",
				Bridge:      "cni0",
				IsGateway:   true,
				IPMasq:      true,
				HairpinMode: true,
				IPAM: hostLocalIPAM{
					Type: "host-local",
					// No pod survives a reboot; its address must not, either.
					DataDir: "/run/cni/networks",
					Ranges:  [][]subnetRange{{{n.PodCIDR}}},
					Routes:  []ipamRoute{{"0.0.0.0/0"}},
				},
			},
			portmapPlugin{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return []File{file(path, 0o644, content)}, nil
}
