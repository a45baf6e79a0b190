package netboot

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// DHCPPort is where machines ask for an address.
const DHCPPort = dhcpv4.ServerPort

// ProxyPort is where firmware asks a proxy for its boot file that it was not told
// in the offer (PXE 2.1, 2.2.3).
const ProxyPort = 4011

// discoveryControl are the options of PXE (option 43) by which firmware takes the
// boot file of the offer at once: neither a multicast nor a broadcast for boot
// servers, no menu (PXE 2.1, table 2-1, PXE_DISCOVERY_CONTROL, bits 0, 1 and 3).
func discoveryControl() []byte { return []byte{6, 1, 0b1011, 255} }

// ProxyReply returns the answer of a proxy to req, nil when there is none. A proxy
// tells machines what to load and leaves addresses to the DHCP server of the
// network: it answers only who boots from the network. port is where req arrived,
// 67 or [ProxyPort].
func ProxyReply(req *dhcpv4.DHCPv4, port int, c Config) (*dhcpv4.DHCPv4, Decision, error) {
	if req.OpCode != dhcpv4.OpcodeBootRequest || req.HWType != iana.HWTypeEthernet {
		return nil, IgnoredType, nil
	}
	class := bootClass(req)
	if class == "" {
		return nil, IgnoredLocal, nil
	}
	known := slices.ContainsFunc(c.Hosts, func(h Host) bool { return bytes.Equal(h.MAC, req.ClientHWAddr) })
	if !known && !c.Strangers {
		return nil, IgnoredStranger, nil
	}
	var decision Decision
	var kind dhcpv4.MessageType
	switch m := req.MessageType(); {
	case port == DHCPPort && m == dhcpv4.MessageTypeDiscover:
		decision, kind = Offered, dhcpv4.MessageTypeOffer
	case port == ProxyPort && (m == dhcpv4.MessageTypeRequest || m == dhcpv4.MessageTypeInform):
		decision, kind = Granted, dhcpv4.MessageTypeAck
	default:
		// At port 67 a request chooses an address, which is not a proxy's.
		return nil, IgnoredType, nil
	}
	boot := c.boot(req)
	if len(boot) == 0 {
		return nil, IgnoredNothing, nil
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(c.Server.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(class)),
		// iPXE takes no boot file of a proxy that names no server, a URL neither.
		dhcpv4.WithServerIP(c.Server.AsSlice()),
	}
	mods = append(mods, boot...)
	if class == pxeClient {
		mods = append(mods, dhcpv4.WithGeneric(dhcpv4.OptionVendorSpecificInformation, discoveryControl()))
	}
	if uuid := req.GetOneOption(dhcpv4.OptionClientMachineIdentifier); uuid != nil {
		mods = append(mods, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, uuid))
	}
	if kind == dhcpv4.MessageTypeAck {
		mods = append(mods, dhcpv4.WithClientIP(req.ClientIPAddr))
	}
	reply, err := dhcpv4.NewReplyFromRequest(req, mods...)
	if err != nil {
		return nil, decision, fmt.Errorf("answering %s as a proxy: %w", req.ClientHWAddr, err)
	}
	return reply, decision, nil
}

// Classes of machines that boot from the network. iPXE is one of PXEClient.
const (
	pxeClient  = "PXEClient"
	httpClient = "HTTPClient"
)

// bootClass is the class of who boots from the network, "" of who does not.
func bootClass(req *dhcpv4.DHCPv4) string {
	class := req.ClassIdentifier()
	switch {
	case strings.HasPrefix(class, httpClient):
		return httpClient
	case strings.HasPrefix(class, pxeClient), slices.Contains(req.UserClass(), "iPXE"):
		return pxeClient
	}
	return ""
}

// proxyDestination is where the answer of a proxy is sent: at its own port back to
// who asked, who has an address by then.
func proxyDestination(req, reply *dhcpv4.DHCPv4, port int, peer net.Addr) net.Addr {
	if port == ProxyPort {
		return peer
	}
	return Destination(req, reply)
}
