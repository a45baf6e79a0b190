package cluster

import (
	"bytes"
	_ "embed" // for the example
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"text/template"
)

//go:embed templates/cluster.yaml.tmpl
var exampleText string

var exampleTemplate = template.Must(template.New("cluster.yaml").Option("missingkey=error").Parse(exampleText))

// ExampleOptions say what the document of a new cluster has in it.
type ExampleOptions struct {
	// Name of the cluster.
	Name string
	// Version of Kubernetes, v1.37.2.
	Version string
	// ControlPlanes and Workers are the numbers of nodes.
	ControlPlanes, Workers int
	// Network is the nodes' network, from which they take addresses.
	Network netip.Prefix
}

type exampleData struct {
	ExampleOptions
	VIP, Gateway, Server, PodSubnet string
	Nodes                           []exampleNode
}

// NameScalar is the name as YAML reads it as text: 001 is a number, and no is none.
func (d exampleData) NameScalar() string {
	if plainName.MatchString(d.Name) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, d.Name) {
		return d.Name
	}
	return strconv.Quote(d.Name)
}

var plainName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

type exampleNode struct {
	Name, MAC, Address string
	Role               Role
}

// Places of the example in its network: the gateway and the server first, the
// virtual address, then the nodes.
const (
	exampleGateway      = 1
	exampleServer       = 2
	exampleVIP          = 10
	exampleControlPlane = 11
	exampleWorker       = 21
)

// Example writes a commented document that is valid, for people to change.
func Example(o ExampleOptions) ([]byte, error) {
	base := o.Network.Masked()
	if !base.IsValid() || !base.Addr().Is4() || exampleWorker+o.Workers+1 >= 1<<(32-base.Bits()) {
		return nil, fmt.Errorf("writing the document: the network %s has no room for %d nodes", o.Network, o.ControlPlanes+o.Workers)
	}
	if o.ControlPlanes < 1 || o.ControlPlanes > maxControlPlanes || o.Workers < 0 {
		return nil, fmt.Errorf("writing the document: %d control planes and %d workers are no cluster: use 1 to %d control planes",
			o.ControlPlanes, o.Workers, maxControlPlanes)
	}
	at := func(place int) netip.Addr {
		b := base.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(place))
		return netip.AddrFrom4(b)
	}
	data := exampleData{ExampleOptions: o, Gateway: at(exampleGateway).String(), Server: at(exampleServer).String()}
	// A /24 for each node, in a subnet that is aligned whatever its size.
	data.PodSubnet = DefaultPodSubnet
	switch count := o.ControlPlanes + o.Workers; {
	case count > 1<<12:
		data.PodSubnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128, 0, 0}), 9).String()
	case count > 1<<8:
		data.PodSubnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 240, 0, 0}), 12).String()
	}
	if o.ControlPlanes > 1 {
		data.VIP = at(exampleVIP).String()
	}
	add := func(role Role, prefix string, count, first int) {
		for i := range count {
			address := at(first + i)
			b := address.As4()
			data.Nodes = append(data.Nodes, exampleNode{
				Name: fmt.Sprintf("%s%d", prefix, i+1), Role: role, Address: netip.PrefixFrom(address, base.Bits()).String(),
				// A local address that says which node it stands for.
				MAC: fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3]),
			})
		}
	}
	add(ControlPlane, "cp", o.ControlPlanes, exampleControlPlane)
	add(Worker, "w", o.Workers, exampleWorker)
	var out bytes.Buffer
	if err := exampleTemplate.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	return out.Bytes(), nil
}
