package butane

import "github.com/k8snode/k8snode/butane/cluster"

// The firewall keeps pods from the provisioning server: see its template.
const (
	firewallPath = "/etc/k8snode/firewall.nft"
	firewallUnit = "k8snode-firewall.service"
	// agentSlice has the units of the agent that speak to the server.
	agentSlice = "k8snode.slice"
)

type firewallData struct {
	Path, Slice       string
	Server            string
	HTTPPort, TLSPort int
}

func firewall(p cluster.Provision) firewallData {
	return firewallData{firewallPath, agentSlice, p.Address, p.HTTPPort, p.TLSPort}
}

// firewallFiles are the rules; there are none without a server.
func firewallFiles(n node) ([]File, error) {
	if n.spec.Provision.Address == "" {
		return nil, nil
	}
	rules, err := execute("firewall.nft.tmpl", firewall(n.spec.Provision))
	if err != nil {
		return nil, err
	}
	return []File{file(firewallPath, 0o644, rules)}, nil
}

// firewallUnits load the rules.
func firewallUnits(n node) ([]Unit, error) {
	if n.spec.Provision.Address == "" {
		return nil, nil
	}
	service, err := execute("firewall.service.tmpl", firewall(n.spec.Provision))
	if err != nil {
		return nil, err
	}
	return []Unit{{Name: firewallUnit, Enabled: true, Contents: service}}, nil
}

// sliced puts those units into the agent's slice that speak to the server; the
// rules let nothing else pass.
func sliced(all []Unit, n node) []Unit {
	if n.spec.Provision.Address == "" {
		return all
	}
	slice := Dropin{"10-slice.conf", "[Service]\nSlice=" + agentSlice + "\n"}
	for i := range all {
		if all[i].Name == "k8snode-bootstrap.service" {
			all[i].Dropins = append(all[i].Dropins, slice)
		}
	}
	if n.controlPlane() {
		all = append(all, Unit{Name: "k8snode-renew.service", Dropins: []Dropin{slice}})
	}
	return all
}
