package netboot_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/k8snode/k8snode/provision/netboot"
)

const pxeClass = "PXEClient:Arch:00007:UNDI:003016"

func TestProxyReply(t *testing.T) {
	firmware := class(pxeClass, iana.EFI_X86_64)
	ipxe := dhcpv4.WithUserClass("iPXE", false)
	stranger := dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9})
	request1 := message(dhcpv4.MessageTypeRequest)
	const script, loader = "http://192.0.2.1:8080/boot.ipxe", "http://192.0.2.1:8080/artifacts/id/pxe/ipxe.efi"
	for _, tt := range []struct {
		name      string
		port      int
		mods      []dhcpv4.Modifier
		strangers bool
		decision  netboot.Decision
		kind      dhcpv4.MessageType
		class     string
		file      string
	}{
		{"firmware", 67, []dhcpv4.Modifier{firmware}, false, netboot.Offered, dhcpv4.MessageTypeOffer, "PXEClient", "ipxe.efi"},
		{"iPXE", 67, []dhcpv4.Modifier{firmware, ipxe}, false, netboot.Offered, dhcpv4.MessageTypeOffer, "PXEClient", script},
		{"iPXE without a class", 67, []dhcpv4.Modifier{ipxe}, false, netboot.Offered, dhcpv4.MessageTypeOffer, "PXEClient", script},
		{"UEFI HTTP", 67, []dhcpv4.Modifier{class("HTTPClient:Arch:00016:UNDI:003001", iana.EFI_X86_64_HTTP)}, false, netboot.Offered, dhcpv4.MessageTypeOffer, "HTTPClient", loader},
		{"its second question", 4011, []dhcpv4.Modifier{firmware, request1, dhcpv4.WithClientIP(ip("192.0.2.77"))}, false, netboot.Granted, dhcpv4.MessageTypeAck, "PXEClient", "ipxe.efi"},
		{"it chooses an address", 67, []dhcpv4.Modifier{firmware, request1, asks("192.0.2.77")}, false, netboot.IgnoredType, 0, "", ""},
		{"a discover at the second port", 4011, []dhcpv4.Modifier{firmware}, false, netboot.IgnoredType, 0, "", ""},
		{"a system that runs", 67, nil, false, netboot.IgnoredLocal, 0, "", ""},
		{"firmware for Arm", 67, []dhcpv4.Modifier{class(pxeClass, iana.EFI_ARM64)}, false, netboot.IgnoredNothing, 0, "", ""},
		{"a stranger", 67, []dhcpv4.Modifier{firmware, stranger}, false, netboot.IgnoredStranger, 0, "", ""},
		{"a stranger who is shown", 67, []dhcpv4.Modifier{firmware, stranger}, true, netboot.Offered, dhcpv4.MessageTypeOffer, "PXEClient", "ipxe.efi"},
		{"a stranger's system", 67, []dhcpv4.Modifier{stranger}, true, netboot.IgnoredLocal, 0, "", ""},
		{"a reply", 67, []dhcpv4.Modifier{firmware, func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }}, false, netboot.IgnoredType, 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			c.Strangers = tt.strangers
			uuid := append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)
			req := request(t, append(tt.mods, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, uuid))...)
			reply, decision, err := netboot.ProxyReply(req, tt.port, c)
			if err != nil || decision != tt.decision || (reply == nil) != (tt.kind == 0) {
				t.Fatalf("%v: %s, %v, want %s", reply, decision, err, tt.decision)
			}
			if reply == nil {
				return
			}
			if reply, err = dhcpv4.FromBytes(reply.ToBytes()); err != nil {
				t.Fatal(err)
			}
			if reply.MessageType() != tt.kind || reply.ClassIdentifier() != tt.class || reply.BootFileNameOption() != tt.file {
				t.Errorf("got %s %q %q", reply.MessageType(), reply.ClassIdentifier(), reply.BootFileNameOption())
			}
			// A proxy says nothing of addresses.
			if !reply.YourIPAddr.IsUnspecified() || reply.SubnetMask() != nil || reply.Router() != nil || reply.IPAddressLeaseTime(0) != 0 {
				t.Errorf("an address: %s", reply.Summary())
			}
			if got := reply.GetOneOption(dhcpv4.OptionClientMachineIdentifier); !bytes.Equal(got, uuid) {
				t.Errorf("the machine's identifier is %x", got)
			}
			control := reply.GetOneOption(dhcpv4.OptionVendorSpecificInformation)
			if want := []byte{6, 1, 11, 255}; tt.class == "PXEClient" && !bytes.Equal(control, want) || tt.class != "PXEClient" && control != nil {
				t.Errorf("options of PXE: %x", control)
			}
			if reply.ServerIPAddr.String() != "192.0.2.1" {
				t.Errorf("boot file from %s", reply.ServerIPAddr)
			}
		})
	}
}

// TestProxyAnswersWhereItIsAsked is the second question, which comes from an
// address and a port of the firmware's choice.
func TestProxyAnswersWhereItIsAsked(t *testing.T) {
	conn := listen(t)
	serve(t, func(ctx context.Context) error { return netboot.Proxy(ctx, conn, netboot.ProxyPort, config(), nil) })
	client, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, junk := range [][]byte{nil, {1}, bytes.Repeat([]byte{1}, 300)} {
		if _, err := client.Write(junk); err != nil {
			t.Fatal(err)
		}
	}
	req := request(t, class(pxeClass, iana.EFI_X86_64), message(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(ip("127.0.0.1")))
	if _, err := client.Write(req.ToBytes()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := client.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := dhcpv4.FromBytes(b[:n])
	if err != nil || reply.MessageType() != dhcpv4.MessageTypeAck || reply.BootFileNameOption() != "ipxe.efi" || reply.TransactionID != req.TransactionID {
		t.Errorf("%v, %v", reply, err)
	}
}

// FuzzProxyReply answers whatever is a DHCP packet: an answer is one too, and is for
// who asked.
func FuzzProxyReply(f *testing.F) {
	f.Add(request(f).ToBytes())
	f.Add(request(f, class(pxeClass, iana.EFI_X86_64)).ToBytes())
	f.Add(request(f, class("HTTPClient:Arch:00016", iana.EFI_X86_64_HTTP), message(dhcpv4.MessageTypeRequest), asks("192.0.2.11")).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		c := config()
		c.Strangers = len(b)%2 == 0
		for _, answer := range []func() (*dhcpv4.DHCPv4, netboot.Decision, error){
			func() (*dhcpv4.DHCPv4, netboot.Decision, error) { return netboot.ProxyReply(req, 67, c) },
			func() (*dhcpv4.DHCPv4, netboot.Decision, error) { return netboot.ProxyReply(req, netboot.ProxyPort, c) },
		} {
			reply, decision, err := answer()
			if decision == "" {
				t.Error("no decision")
			}
			if err != nil || reply == nil {
				continue
			}
			again, err := dhcpv4.FromBytes(reply.ToBytes())
			if err != nil || again.OpCode != dhcpv4.OpcodeBootReply || again.TransactionID != req.TransactionID {
				t.Errorf("%v, %v", again, err)
			}
			netboot.Destination(req, reply)
		}
	})
}
