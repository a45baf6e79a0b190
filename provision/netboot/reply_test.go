package netboot_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/k8snode/k8snode/provision/netboot"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

func config() netboot.Config {
	return netboot.Config{
		Server: netip.MustParseAddr("192.0.2.1"),
		Hosts: []netboot.Host{
			{Name: "b", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2}, Address: netip.MustParsePrefix("192.0.2.12/24")},
			{Name: "a", MAC: mac, Address: netip.MustParsePrefix("192.0.2.11/24")},
		},
		Router:    netip.MustParseAddr("192.0.2.254"),
		DNS:       []netip.Addr{netip.MustParseAddr("192.0.2.53")},
		Lease:     2 * time.Hour,
		ScriptURL: "http://192.0.2.1:8080/boot.ipxe",
		LoaderURL: "http://192.0.2.1:8080/artifacts/id/pxe/ipxe.efi",
		TFTP:      netip.MustParseAddr("192.0.2.1"),
	}
}

// request is a discover of host a, changed by mods.
func request(t testing.TB, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	req, err := dhcpv4.NewDiscovery(mac, append([]dhcpv4.Modifier{dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func ip(s string) net.IP { return net.ParseIP(s).To4() }

func message(m dhcpv4.MessageType) dhcpv4.Modifier { return dhcpv4.WithMessageType(m) }

func asks(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ip(s))) }

func serverID(s string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ip(s)))
}

func class(s string, arch iana.Arch) dhcpv4.Modifier {
	return func(d *dhcpv4.DHCPv4) {
		d.UpdateOption(dhcpv4.OptClassIdentifier(s))
		d.UpdateOption(dhcpv4.OptClientArch(arch))
	}
}

func TestReplyAddress(t *testing.T) {
	request1 := message(dhcpv4.MessageTypeRequest)
	const full = "mask ffffff00 router [192.0.2.254] dns [192.0.2.53] lease 2h0m0s"
	const bare = "mask <nil> router [] dns [] lease 0s"
	for _, tt := range []struct {
		name     string
		mods     []dhcpv4.Modifier
		decision netboot.Decision
		want     string
	}{
		{"discover", nil, netboot.Offered, "OFFER 192.0.2.11 from 192.0.2.1 " + full},
		{"request", []dhcpv4.Modifier{request1, asks("192.0.2.11"), serverID("192.0.2.1")}, netboot.Granted, "ACK 192.0.2.11 from 192.0.2.1 " + full},
		{"request after a restart", []dhcpv4.Modifier{request1, asks("192.0.2.11")}, netboot.Granted, "ACK 192.0.2.11 from 192.0.2.1 " + full},
		{"renewal", []dhcpv4.Modifier{request1, dhcpv4.WithClientIP(ip("192.0.2.11"))}, netboot.Granted, "ACK 192.0.2.11 from 192.0.2.1 " + full},
		{"request for a neighbour's address", []dhcpv4.Modifier{request1, asks("192.0.2.12")}, netboot.Refused, "NAK 0.0.0.0 from 192.0.2.1 " + bare},
		{"renewal of another address", []dhcpv4.Modifier{request1, dhcpv4.WithClientIP(ip("198.51.100.1"))}, netboot.Refused, "NAK 0.0.0.0 from 192.0.2.1 " + bare},
		{"request for no address", []dhcpv4.Modifier{request1}, netboot.Refused, "NAK 0.0.0.0 from 192.0.2.1 " + bare},
		{"inform", []dhcpv4.Modifier{message(dhcpv4.MessageTypeInform), dhcpv4.WithClientIP(ip("192.0.2.11"))}, netboot.Informed,
			"ACK 0.0.0.0 from 192.0.2.1 mask ffffff00 router [192.0.2.254] dns [192.0.2.53] lease 0s"},
		{"request to another server", []dhcpv4.Modifier{request1, asks("192.0.2.11"), serverID("192.0.2.2")}, netboot.IgnoredOther, ""},
		{"stranger", []dhcpv4.Modifier{dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9})}, netboot.IgnoredStranger, ""},
		{"stranger's request", []dhcpv4.Modifier{request1, asks("192.0.2.11"), dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9})}, netboot.IgnoredStranger, ""},
		{"release", []dhcpv4.Modifier{message(dhcpv4.MessageTypeRelease)}, netboot.IgnoredType, ""},
		{"decline", []dhcpv4.Modifier{message(dhcpv4.MessageTypeDecline)}, netboot.IgnoredType, ""},
		{"a reply", []dhcpv4.Modifier{func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }}, netboot.IgnoredType, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(t, tt.mods...)
			reply, decision, err := netboot.Reply(req, config())
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if reply != nil {
				mask := "<nil>"
				if m := reply.SubnetMask(); m != nil {
					mask = m.String()
				}
				got = fmt.Sprintf("%s %s from %s mask %s router %s dns %s lease %s", reply.MessageType(), reply.YourIPAddr,
					reply.ServerIdentifier(), mask, reply.Router(), reply.DNS(), reply.IPAddressLeaseTime(0))
				if reply.TransactionID != req.TransactionID || reply.ClientHWAddr.String() != req.ClientHWAddr.String() {
					t.Errorf("reply is for %s of %s", reply.TransactionID, reply.ClientHWAddr)
				}
			}
			if decision != tt.decision || got != tt.want {
				t.Errorf("%s: %q, want %s: %q", decision, got, tt.decision, tt.want)
			}
		})
	}
}

func TestReplyBoot(t *testing.T) {
	loader, script := "http://192.0.2.1:8080/artifacts/id/pxe/ipxe.efi", "http://192.0.2.1:8080/boot.ipxe"
	const pxe = "PXEClient:Arch:00007:UNDI:003016"
	for _, tt := range []struct {
		name   string
		mods   []dhcpv4.Modifier
		change func(*netboot.Config)
		file   string
		next   string
		class  string
	}{
		{"an installed system", nil, nil, "", "0.0.0.0", ""},
		{"iPXE", []dhcpv4.Modifier{class(pxe, iana.EFI_X86_64), dhcpv4.WithUserClass("iPXE", false)}, nil, script, "0.0.0.0", ""},
		{"iPXE, RFC 3004", []dhcpv4.Modifier{class(pxe, iana.EFI_X86_64), dhcpv4.WithUserClass("iPXE", true)}, nil, script, "0.0.0.0", ""},
		{"iPXE of a BIOS", []dhcpv4.Modifier{class("PXEClient", iana.INTEL_X86PC), dhcpv4.WithUserClass("iPXE", false)}, nil, script, "0.0.0.0", ""},
		{"UEFI PXE 7", []dhcpv4.Modifier{class(pxe, iana.EFI_X86_64)}, nil, "ipxe.efi", "192.0.2.1", ""},
		{"UEFI PXE 9", []dhcpv4.Modifier{class(pxe, iana.EFI_BC)}, nil, "ipxe.efi", "192.0.2.1", ""},
		{"UEFI PXE for Arm", []dhcpv4.Modifier{class(pxe, iana.EFI_ARM64)}, nil, "", "0.0.0.0", ""},
		{"BIOS PXE", []dhcpv4.Modifier{class("PXEClient", iana.INTEL_X86PC)}, nil, "", "0.0.0.0", ""},
		{"UEFI HTTP", []dhcpv4.Modifier{class("HTTPClient:Arch:00016:UNDI:003001", iana.EFI_X86_64_HTTP)}, nil, loader, "0.0.0.0", "HTTPClient"},
		{"UEFI HTTP for Arm", []dhcpv4.Modifier{class("HTTPClient", iana.EFI_ARM64_HTTP)}, nil, "", "0.0.0.0", ""},
		{"UEFI PXE without TFTP", []dhcpv4.Modifier{class(pxe, iana.EFI_X86_64)}, func(c *netboot.Config) { c.TFTP = netip.Addr{} }, "", "0.0.0.0", ""},
		{"UEFI HTTP without a loader", []dhcpv4.Modifier{class("HTTPClient", iana.EFI_X86_64_HTTP)}, func(c *netboot.Config) { c.LoaderURL = "" }, "", "0.0.0.0", ""},
		{"iPXE without a script", []dhcpv4.Modifier{dhcpv4.WithUserClass("iPXE", false)}, func(c *netboot.Config) { c.ScriptURL = "" }, "", "0.0.0.0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			if tt.change != nil {
				tt.change(&c)
			}
			reply, _, err := netboot.Reply(request(t, tt.mods...), c)
			if err != nil {
				t.Fatal(err)
			}
			// As the client reads it.
			reply, err = dhcpv4.FromBytes(reply.ToBytes())
			if err != nil {
				t.Fatal(err)
			}
			if reply.BootFileName != tt.file || reply.BootFileNameOption() != tt.file ||
				reply.ServerIPAddr.String() != tt.next || reply.ClassIdentifier() != tt.class {
				t.Errorf("file %q and %q, next server %s, class %q; want %q, %s, %q", reply.BootFileName, reply.BootFileNameOption(),
					reply.ServerIPAddr, reply.ClassIdentifier(), tt.file, tt.next, tt.class)
			}
		})
	}
}

func TestReplyLongURLStaysOutOfHeader(t *testing.T) {
	c := config()
	c.LoaderURL = "http://192.0.2.1/" + fmt.Sprintf("%0128d", 0)
	reply, _, err := netboot.Reply(request(t, class("HTTPClient", iana.EFI_X86_64_HTTP)), c)
	if err != nil {
		t.Fatal(err)
	}
	if reply.BootFileName != "" || reply.BootFileNameOption() != c.LoaderURL {
		t.Errorf("file %q, option %q", reply.BootFileName, reply.BootFileNameOption())
	}
}

func TestReplyEchoesMachineIdentifier(t *testing.T) {
	uuid := append([]byte{0}, make([]byte, 16)...)
	uuid[16] = 7
	reply, _, err := netboot.Reply(request(t, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, uuid)), config())
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.GetOneOption(dhcpv4.OptionClientMachineIdentifier); string(got) != string(uuid) {
		t.Errorf("identifier %x, want %x", got, uuid)
	}
}

func TestDestination(t *testing.T) {
	request1 := message(dhcpv4.MessageTypeRequest)
	for _, tt := range []struct {
		name string
		mods []dhcpv4.Modifier
		want string
	}{
		{"no address yet", nil, "255.255.255.255:68"},
		{"renewal", []dhcpv4.Modifier{request1, dhcpv4.WithClientIP(ip("192.0.2.11"))}, "192.0.2.11:68"},
		{"refused renewal", []dhcpv4.Modifier{request1, dhcpv4.WithClientIP(ip("192.0.2.99"))}, "255.255.255.255:68"},
		{"relayed", []dhcpv4.Modifier{dhcpv4.WithGatewayIP(ip("198.51.100.1"))}, "198.51.100.1:67"},
	} {
		req := request(t, tt.mods...)
		reply, _, err := netboot.Reply(req, config())
		if err != nil {
			t.Fatal(err)
		}
		if got := netboot.Destination(req, reply).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add(request(f).ToBytes())
	f.Add(request(f, message(dhcpv4.MessageTypeRequest), class("HTTPClient", iana.EFI_X86_64_HTTP), dhcpv4.WithUserClass("iPXE", true)).ToBytes())
	f.Fuzz(func(t *testing.T, packet []byte) {
		req, err := dhcpv4.FromBytes(packet)
		if err != nil {
			return
		}
		reply, decision, err := netboot.Reply(req, config())
		if err != nil || reply == nil {
			return
		}
		if req.ClientHWAddr.String() != "52:54:00:00:00:01" && req.ClientHWAddr.String() != "52:54:00:00:00:02" {
			t.Fatalf("%s: a stranger was answered: %s", decision, req.Summary())
		}
		again, err := dhcpv4.FromBytes(reply.ToBytes())
		if err != nil {
			t.Fatalf("the answer is not a packet: %v", err)
		}
		if again.OpCode != dhcpv4.OpcodeBootReply || again.TransactionID != req.TransactionID || again.ClientHWAddr.String() != req.ClientHWAddr.String() {
			t.Fatalf("%s: answered with %s", req.Summary(), again.Summary())
		}
		// No machine gets another one's address.
		own := map[string]string{"52:54:00:00:00:01": "192.0.2.11", "52:54:00:00:00:02": "192.0.2.12"}[req.ClientHWAddr.String()]
		if got := again.YourIPAddr; !got.IsUnspecified() && got.String() != own {
			t.Fatalf("%s was given %s, want %s", req.ClientHWAddr, got, own)
		}
		netboot.Destination(req, reply)
	})
}
