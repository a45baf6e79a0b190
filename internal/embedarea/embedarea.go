package embedarea

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"

	"github.com/k8snode/k8snode/provision/api"
)

// Magic begins an area that holds a document.
const Magic = "K8SAREA1"

// headerSize is the length of the header: magic, length and digest.
const headerSize = len(Magic) + 4 + sha256.Size

// Errors that callers tell apart.
var (
	// ErrEmpty means that nobody wrote the area.
	ErrEmpty = errors.New("the embed area is empty")
	// ErrCorrupt means that it is not as it was written.
	ErrCorrupt = errors.New("the embed area is corrupt")
)

// A Document says how an installer finds its server, and which node it makes of the
// machine.
type Document struct {
	// Seed has a server and its authority. Node and Token are there both, for the
	// ISO of one node, or neither.
	Seed api.Seed `json:"seed"`
	// MACs are the interfaces of the node's machine: on one that has none of them
	// the installer does nothing. Empty for the ISO of a cluster.
	MACs []string `json:"macs,omitempty"`
	// Network is how that machine is reached where no DHCP server gives it an
	// address; nil asks one.
	Network *Network `json:"network,omitempty"`
}

// Network is the address of one interface.
type Network struct {
	// MAC is that of the interface.
	MAC string `json:"mac"`
	// Address is an IPv4 address with the prefix length of its network.
	Address netip.Prefix `json:"address"`
	// Gateway is the zero Addr where there is none.
	Gateway netip.Addr `json:"gateway,omitzero"`
	// DNS are the addresses of name servers.
	DNS []netip.Addr `json:"dns,omitempty"`
}

// Encode returns the content of an area of size bytes.
func Encode(d Document, size int) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("writing the embed area: %w", err)
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("writing the embed area: %w", err)
	}
	if room := size - headerSize; len(payload) > room {
		return nil, fmt.Errorf("writing the embed area: %d bytes do not fit into %d", len(payload), room)
	}
	sum := sha256.Sum256(payload)
	b := make([]byte, 0, size)
	b = append(b, Magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, sum[:]...)
	return append(b, payload...)[:size], nil
}

// Decode reads the content of an area.
func Decode(area []byte) (Document, error) {
	switch {
	case len(area) < headerSize:
		return Document{}, fmt.Errorf("%w: it has %d bytes", ErrCorrupt, len(area))
	case len(bytes.TrimLeft(area, "\x00")) == 0:
		return Document{}, ErrEmpty
	case string(area[:len(Magic)]) != Magic:
		return Document{}, fmt.Errorf("%w: it has no magic number", ErrCorrupt)
	}
	length := int64(binary.BigEndian.Uint32(area[len(Magic):]))
	if length == 0 || length > int64(len(area)-headerSize) {
		return Document{}, fmt.Errorf("%w: the length %d is out of range", ErrCorrupt, length)
	}
	payload, rest := area[headerSize:][:length], area[headerSize:][length:]
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], area[len(Magic)+4:headerSize]) || len(bytes.TrimLeft(rest, "\x00")) > 0 {
		return Document{}, fmt.Errorf("%w: its digest is of something else", ErrCorrupt)
	}
	var d Document
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("reading the embed area: %w; was it written by a newer k8snode than the image's?", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Document{}, errors.New("reading the embed area: it has more than one document")
	}
	if err := d.check(); err != nil {
		return Document{}, fmt.Errorf("reading the embed area: %w", err)
	}
	return d, nil
}

// check refuses what no installer can do.
func (d Document) check() error {
	u, err := url.Parse(d.Seed.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the server %q is not an https URL", d.Seed.Server)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(d.Seed.CA)) {
		return errors.New("the authority is no PEM certificate")
	}
	if (d.Seed.Node == "") != (d.Seed.Token == "") {
		return errors.New("it has one of a node and a token, not both")
	}
	if d.Seed.Node == "" && (d.Network != nil || len(d.MACs) > 0) {
		return errors.New("it is for every machine, and has the interfaces of one")
	}
	for _, mac := range d.MACs {
		if err := checkMAC(mac); err != nil {
			return err
		}
	}
	return d.Network.check()
}

func checkMAC(text string) error {
	if mac, err := net.ParseMAC(text); err != nil || len(mac) != 6 {
		return fmt.Errorf("%q is not the MAC address of an Ethernet interface", text)
	}
	return nil
}

func (n *Network) check() error {
	if n == nil {
		return nil
	}
	if err := checkMAC(n.MAC); err != nil {
		return err
	}
	if !n.Address.IsValid() || !n.Address.Addr().Is4() {
		return fmt.Errorf("the address %s is not IPv4 with a prefix length", n.Address)
	}
	if n.Gateway.IsValid() && (!n.Gateway.Is4() || !n.Address.Contains(n.Gateway)) {
		return fmt.Errorf("the gateway %s is not in the network of %s", n.Gateway, n.Address)
	}
	for _, dns := range n.DNS {
		if !dns.IsValid() || dns.Zone() != "" {
			return fmt.Errorf("the name server %s is not an address", dns)
		}
	}
	return nil
}
