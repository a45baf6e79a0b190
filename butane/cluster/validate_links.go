package cluster

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

var (
	// linkPattern: IFNAMSIZ is 16 with the final zero.
	linkPattern = regexp.MustCompile(`^[a-z][a-zA-Z0-9_.-]{0,14}$`)
	// kernelName are names that the kernel gives by itself, in any order.
	kernelName = regexp.MustCompile(`^(eth|wlan|usb|vec)[0-9]+$`)
	// takenLinks are made by other programs of a node.
	takenLinks = []string{"lo", "cni0", "docker0", "kube-ipvs0", "tunl0"}
	bondModes  = []string{"802.3ad", "active-backup", "balance-rr", "balance-xor", "broadcast", "balance-tlb", "balance-alb"}
)

// links checks how a node's interfaces are put together.
func (c *checker) links(path report.Path, n Node, macs seen) {
	list := path.Field("links")
	names, own, vlans := seen{}, seen{}, seen{}
	for i, l := range n.Links {
		at := list.Index(i)
		c.linkName(at.Field("name"), l.Name)
		if l.Name != "" {
			c.unique(names, at.Field("name"), l.Name)
		}
		kinds := 0
		for _, has := range []bool{l.MAC != "", l.Bond != nil, l.VLAN != nil} {
			if has {
				kinds++
			}
		}
		if kinds != 1 {
			c.add(at, "a link has a mac, a bond or a vlan, one of them", "")
			continue
		}
		switch {
		case l.Bond != nil:
			c.bond(at.Field("bond"), n, l)
		case l.VLAN != nil:
			c.vlan(at.Field("vlan"), n, l, vlans)
		// The interface of the node's own MAC is checked with the node.
		case l.MAC == n.MAC:
			own[l.MAC] = at
		case c.mac(at.Field("mac"), l.MAC):
			mac := l.HardwareAddr().String()
			if same := n.HardwareAddr(); same == nil || same.String() != mac {
				c.unique(macs, at.Field("mac"), mac)
			}
		}
		c.linkSettings(at, n, l)
	}
	if mac := n.HardwareAddr(); mac != nil && !slices.ContainsFunc(n.Links, func(l Link) bool { return l.HardwareAddr().String() == mac.String() }) {
		c.add(path.Field("mac"), fmt.Sprintf("no link has the MAC %s, which the machine boots from", mac), "add a link with it, or correct one")
	}
	c.primary(path, n)
}

func (c *checker) linkName(path report.Path, name string) {
	switch {
	case name == "":
		c.add(path, "missing", "")
	case !linkPattern.MatchString(name) || slices.Contains(takenLinks, name):
		c.add(path, fmt.Sprintf("%q is not a name for a link", name), "use at most 15 letters, digits, hyphens, underscores and dots, a lower-case letter first")
	case kernelName.MatchString(name):
		c.add(path, fmt.Sprintf("%q is a name that the kernel gives to any interface", name), "use another one, for instance lan0")
	}
}

func (c *checker) bond(path report.Path, n Node, l Link) {
	c.oneOf(path.Field("mode"), l.Bond.Mode, bondModes...)
	if len(l.Bond.Links) == 0 {
		c.add(path.Field("links"), "missing", "name the links that it joins")
	}
	for i, name := range l.Bond.Links {
		at := path.Field("links").Index(i)
		part, ok := n.Link(name)
		switch {
		case !ok:
			c.add(at, fmt.Sprintf("there is no link %q", name), "")
		case part.MAC == "":
			c.add(at, fmt.Sprintf("%s is no interface", name), "name a link with a mac")
		case n.BondOf(name) != l.Name || slices.Index(l.Bond.Links, name) != i:
			c.add(at, fmt.Sprintf("%s is in a bond already", name), "")
		case len(n.VLANsOf(name)) > 0:
			c.add(at, fmt.Sprintf("%s carries a VLAN", name), "put the VLAN on "+l.Name)
		}
	}
	if l.Bond.LACPRate != "" {
		if l.Bond.Mode != "802.3ad" {
			c.add(path.Field("lacpRate"), fmt.Sprintf("the mode %s has no LACP", l.Bond.Mode), "remove it")
		} else {
			c.oneOf(path.Field("lacpRate"), l.Bond.LACPRate, "fast", "slow")
		}
	}
	if l.Bond.HashPolicy != "" {
		c.oneOf(path.Field("hashPolicy"), l.Bond.HashPolicy, "layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4")
	}
	if p := l.Bond.PrimaryLink; p != "" && !slices.Contains(l.Bond.Links, p) {
		c.add(path.Field("primaryLink"), fmt.Sprintf("%s is not one of the bond's links", p), "")
	}
}

func (c *checker) vlan(path report.Path, n Node, l Link, ids seen) {
	c.between(path.Field("id"), l.VLAN.ID, 1, 4094)
	switch below, ok := n.Link(l.VLAN.Link); {
	case l.VLAN.Link == "":
		c.add(path.Field("link"), "missing", "name the link below")
	case !ok || below.Name == l.Name:
		c.add(path.Field("link"), fmt.Sprintf("there is no link %q below it", l.VLAN.Link), "")
	case below.VLAN != nil:
		c.add(path.Field("link"), fmt.Sprintf("%s is a VLAN itself", l.VLAN.Link), "name an interface or a bond")
	default:
		c.unique(ids, path.Field("id"), fmt.Sprintf("VLAN %d of %s", l.VLAN.ID, l.VLAN.Link))
		if below.MTU != 0 && l.MTU > below.MTU {
			c.add(path.Parent().Field("mtu"), fmt.Sprintf("%d is more than the %d of %s", l.MTU, below.MTU, below.Name), "")
		}
	}
}

// linkSettings checks what a link of any kind has.
func (c *checker) linkSettings(path report.Path, n Node, l Link) {
	if l.MTU != 0 {
		c.between(path.Field("mtu"), l.MTU, 1280, 9216)
	}
	bonded := n.BondOf(l.Name)
	if bonded != "" && (len(l.Addresses) > 0 || l.DHCP) {
		c.add(path, fmt.Sprintf("a part of %s has no address of its own", bonded), "give it to "+bonded)
	}
	for i, a := range l.Addresses {
		p, err := netip.ParsePrefix(a)
		switch at := path.Field("addresses").Index(i); {
		case err != nil:
			c.add(at, fmt.Sprintf("%q is not an address with a prefix length", a), "write it as 192.0.2.11/24")
		case p.Addr() == n.IP():
			c.add(at, fmt.Sprintf("%s is the node's own address", p.Addr()), "remove it: the primary link has it")
		case n.Primary != "" && l.Name != n.Primary && n.Prefix().IsValid() && n.Prefix().Masked().Overlaps(p.Masked()):
			c.add(at, fmt.Sprintf("%s is in the network of the node's address, which is on %s", p, n.Primary), "two links in one network answer for each other: use another network")
		}
	}
	if l.DHCP && l.Name == n.Primary {
		c.add(path.Field("dhcp"), "this is the primary link", "use addressing: dhcp of the node")
	}
}

// primary checks which link carries the node's address.
func (c *checker) primary(path report.Path, n Node) {
	c.oneOf(path.Field("addressing"), n.Addressing, AddressingStatic, AddressingDHCP)
	at := path.Field("primary")
	if n.Primary == "" {
		var names []string
		for _, l := range n.topLinks() {
			names = append(names, l.Name)
		}
		c.add(at, "missing: several links could carry the node's address", "write one of "+strings.Join(names, ", "))
		return
	}
	if _, ok := n.Link(n.Primary); !ok {
		c.add(at, fmt.Sprintf("there is no link %q", n.Primary), "")
	} else if bond := n.BondOf(n.Primary); bond != "" {
		c.add(at, fmt.Sprintf("%s is a part of %s", n.Primary, bond), "write "+bond)
	}
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	effects     = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}
)

// isQualifiedName checks the key of a label or a taint:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
func isQualifiedName(key string) bool {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		return namePattern.MatchString(key)
	}
	return isDNSName(prefix) && namePattern.MatchString(name)
}

// kubeletLabels are labels of Kubernetes that kubelets set:
// staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go.
var kubeletLabels = []string{
	"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type",
	"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
}

// kubeletMaySet reports whether the API server lets a kubelet set a label of
// its own node: the plugin NodeRestriction keeps the names of Kubernetes.
func kubeletMaySet(key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	switch {
	case !found:
		return true
	case strings.HasSuffix(prefix, "kubelet.kubernetes.io"), strings.HasSuffix(prefix, "node.kubernetes.io"):
		return true
	case prefix == "kubernetes.io" || strings.HasSuffix(prefix, ".kubernetes.io"), prefix == "k8s.io" || strings.HasSuffix(prefix, ".k8s.io"):
		return slices.Contains(kubeletLabels, key)
	}
	return true
}

// marks checks the labels and the taints of a node.
func (c *checker) marks(path report.Path, n Node) {
	for key, value := range n.Labels {
		at := path.Field("labels").Field(key)
		if !isQualifiedName(key) {
			c.add(at, fmt.Sprintf("%q is not the key of a label", key), "write it as example.org/name")
		}
		if value != "" && !namePattern.MatchString(value) {
			c.add(at, fmt.Sprintf("%q is not the value of a label", value), "use at most 63 letters, digits, hyphens, underscores and dots")
		}
		switch {
		case strings.HasPrefix(key, "node-role.kubernetes.io/master"):
			c.add(at, "this label is gone since Kubernetes 1.24", "kubeadm sets node-role.kubernetes.io/control-plane itself")
		case !kubeletMaySet(key):
			c.add(at, "a kubelet may not give its node this label", "use a name of your own, as example.org/"+key[strings.LastIndexByte(key, '/')+1:]+", or kubectl label")
		}
	}
	taken := seen{}
	for i, t := range n.Taints {
		at := path.Field("taints").Index(i)
		if !isQualifiedName(t.Key) {
			c.add(at.Field("key"), fmt.Sprintf("%q is not the key of a taint", t.Key), "write it as example.org/name")
		}
		if t.Value != "" && !namePattern.MatchString(t.Value) {
			c.add(at.Field("value"), fmt.Sprintf("%q is not the value of a taint", t.Value), "use at most 63 letters, digits, hyphens, underscores and dots")
		}
		if c.oneOf(at.Field("effect"), t.Effect, effects...) {
			c.unique(taken, at, t.Key+" with "+t.Effect)
		}
	}
}
