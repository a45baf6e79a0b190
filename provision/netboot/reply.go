package netboot

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// BootFile is the name of the boot loader in TFTP.
const BootFile = "ipxe.efi"

// A Host is a machine that is answered.
type Host struct {
	Name string
	MAC  net.HardwareAddr
	// Address is the machine's own IPv4 address with the prefix length of the
	// network.
	Address netip.Prefix
}

// Config is what a DHCP server says.
type Config struct {
	// Server is the server's own IPv4 address on the interface; it is the
	// server identifier, and the address of TFTP.
	Server netip.Addr
	Hosts  []Host
	// Router and DNS are left out of the answers when they are not set.
	Router netip.Addr
	DNS    []netip.Addr
	// Lease is how long an address is valid, one hour by default.
	Lease time.Duration
	// ScriptURL is the URL of the script by which a machine finds its own; empty
	// leaves iPXE without one.
	ScriptURL string
	// LoaderURL is the URL of ipxe.efi for UEFI HTTP boot; empty leaves such
	// machines without a loader.
	LoaderURL string
	// TFTP names the server of [BootFile], by default none: then UEFI PXE is
	// given an address only.
	TFTP netip.Addr
	// Strangers makes a proxy answer machines that are no hosts as well: their
	// script makes them wait, and shows them to the operator.
	Strangers bool
}

// A Decision says what became of a request. It is for the log.
type Decision string

// The decisions.
const (
	// IgnoredStranger: no host of the configuration has this MAC.
	IgnoredStranger Decision = "ignored: not in the inventory"
	// IgnoredLocal: who asks a proxy does not boot from the network.
	IgnoredLocal Decision = "ignored: not a network boot"
	// IgnoredNothing: there is no loader for this kind of firmware.
	IgnoredNothing Decision = "ignored: nothing to load for this firmware"
	// IgnoredOther: the request is not for this server.
	IgnoredOther Decision = "ignored: for another server"
	// IgnoredType: the message needs no answer.
	IgnoredType Decision = "ignored: no answer to this message"
	Offered     Decision = "offered"
	Granted     Decision = "granted"
	Refused     Decision = "refused: not the machine's address"
	Informed    Decision = "informed"
)

// Reply returns the answer to req, nil when there is none. An error means that
// the answer could not be made.
func Reply(req *dhcpv4.DHCPv4, c Config) (*dhcpv4.DHCPv4, Decision, error) {
	if req.OpCode != dhcpv4.OpcodeBootRequest || req.HWType != iana.HWTypeEthernet {
		return nil, IgnoredType, nil
	}
	i := slices.IndexFunc(c.Hosts, func(h Host) bool { return bytes.Equal(h.MAC, req.ClientHWAddr) })
	if i < 0 {
		return nil, IgnoredStranger, nil
	}
	host := c.Hosts[i]
	if id := req.ServerIdentifier(); id != nil && !id.Equal(c.Server.AsSlice()) {
		return nil, IgnoredOther, nil
	}
	var decision Decision
	var kind dhcpv4.MessageType
	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		decision, kind = Offered, dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		// RFC 2131, 4.3.2: the address is in the option while it is being
		// chosen or after a restart, and in ciaddr while it is renewed.
		want := req.RequestedIPAddress()
		if want == nil || want.IsUnspecified() {
			want = req.ClientIPAddr
		}
		decision, kind = Granted, dhcpv4.MessageTypeAck
		if !want.Equal(host.Address.Addr().AsSlice()) {
			decision, kind = Refused, dhcpv4.MessageTypeNak
		}
	case dhcpv4.MessageTypeInform:
		decision, kind = Informed, dhcpv4.MessageTypeAck
	default:
		return nil, IgnoredType, nil
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(c.Server.AsSlice())),
	}
	if kind != dhcpv4.MessageTypeNak {
		mods = append(mods, c.network(host)...)
		mods = append(mods, c.boot(req)...)
		if uuid := req.GetOneOption(dhcpv4.OptionClientMachineIdentifier); uuid != nil {
			// Firmware drops an answer without its own identifier (PXE 2.1,
			// 2.2.1).
			mods = append(mods, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, uuid))
		}
	}
	if kind == dhcpv4.MessageTypeAck {
		mods = append(mods, dhcpv4.WithClientIP(req.ClientIPAddr))
	}
	if decision == Offered || decision == Granted {
		lease := c.Lease
		if lease <= 0 {
			lease = time.Hour
		}
		mods = append(mods,
			dhcpv4.WithYourIP(host.Address.Addr().AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(lease)))
	}
	reply, err := dhcpv4.NewReplyFromRequest(req, mods...)
	if err != nil {
		return nil, decision, fmt.Errorf("answering %s: %w", req.ClientHWAddr, err)
	}
	if kind == dhcpv4.MessageTypeNak {
		// RFC 2131, 4.3.2: behind a relay, the client may be on another
		// network and is only reached by broadcast.
		reply.SetBroadcast()
	}
	return reply, decision, nil
}

func (c Config) network(h Host) []dhcpv4.Modifier {
	mods := []dhcpv4.Modifier{dhcpv4.WithNetmask(net.CIDRMask(h.Address.Bits(), 32))}
	if c.Router.IsValid() {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptRouter(c.Router.AsSlice())))
	}
	if len(c.DNS) > 0 {
		var dns []net.IP
		for _, a := range c.DNS {
			dns = append(dns, a.AsSlice())
		}
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptDNS(dns...)))
	}
	return mods
}

// boot returns what to load, by the kind of client.
func (c Config) boot(req *dhcpv4.DHCPv4) []dhcpv4.Modifier {
	class := req.ClassIdentifier()
	switch {
	case slices.Contains(req.UserClass(), "iPXE"):
		if c.ScriptURL == "" {
			return nil
		}
		return bootFile(c.ScriptURL)
	case strings.HasPrefix(class, httpClient) && isArch(req, iana.EFI_X86_64_HTTP):
		if c.LoaderURL == "" {
			return nil
		}
		// UEFI 2.10, 24.7.3.1: the answer is for HTTP boot only if it says so.
		return append(bootFile(c.LoaderURL), dhcpv4.WithOption(dhcpv4.OptClassIdentifier(httpClient)))
	case strings.HasPrefix(class, pxeClient) && isArch(req, iana.EFI_BC, iana.EFI_X86_64):
		if !c.TFTP.IsValid() {
			return nil
		}
		return append(bootFile(BootFile),
			dhcpv4.WithServerIP(c.TFTP.AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptTFTPServerName(c.TFTP.String())))
	}
	return nil
}

// bootFile names the file where every kind of client looks: in the header, if
// it fits, and in option 67.
func bootFile(name string) []dhcpv4.Modifier {
	return []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptBootFileName(name)),
		func(d *dhcpv4.DHCPv4) {
			if len(name) < 128 {
				d.BootFileName = name
			}
		},
	}
}

// isArch reports whether option 93 names one of archs.
func isArch(req *dhcpv4.DHCPv4, archs ...iana.Arch) bool {
	return slices.ContainsFunc(req.ClientArch(), func(a iana.Arch) bool { return slices.Contains(archs, a) })
}

// Destination is where an answer is sent (RFC 2131, 4.1).
func Destination(req, reply *dhcpv4.DHCPv4) *net.UDPAddr {
	switch {
	case req.GatewayIPAddr != nil && !req.GatewayIPAddr.IsUnspecified():
		return &net.UDPAddr{IP: req.GatewayIPAddr, Port: dhcpv4.ServerPort}
	case reply.MessageType() != dhcpv4.MessageTypeNak && req.ClientIPAddr != nil && !req.ClientIPAddr.IsUnspecified():
		return &net.UDPAddr{IP: req.ClientIPAddr, Port: dhcpv4.ClientPort}
	}
	// A client without an address cannot answer ARP: only a broadcast reaches
	// it through an ordinary socket.
	return &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
}
