package netboot_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"

	"github.com/k8snode/k8snode/provision/netboot"
)

func listen(t testing.TB) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// serve runs one of the servers until the end of the test, and checks that it
// ends when it is told to.
func serve(t *testing.T, run func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("server ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("server did not end")
		}
	})
}

func TestTFTP(t *testing.T) {
	loader := bytes.Repeat([]byte("0123456789abcdef"), 5000)
	conn := listen(t)
	serve(t, func(ctx context.Context) error {
		return netboot.TFTP(ctx, conn, func() ([]byte, error) { return loader, nil }, nil)
	})

	for _, name := range []string{"ipxe.efi", "/ipxe.efi"} {
		client, err := tftp.NewClient(conn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		client.SetBlockSize(1428)
		client.RequestTSize(true)
		wt, err := client.Receive(name, "octet")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if size, ok := wt.(tftp.IncomingTransfer).Size(); !ok || size != int64(len(loader)) {
			t.Errorf("%s: announced size %d (%v), want %d", name, size, ok, len(loader))
		}
		var b bytes.Buffer
		if _, err := wt.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), loader) {
			t.Errorf("%s: read %d bytes, %v", name, b.Len(), err)
		}
	}
}

func TestTFTPRefuses(t *testing.T) {
	conn := listen(t)
	serve(t, func(ctx context.Context) error {
		return netboot.TFTP(ctx, conn, func() ([]byte, error) { return []byte("loader"), nil }, nil)
	})
	client, err := tftp.NewClient(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "ipxe.efi/", "../ipxe.efi", "//ipxe.efi", "/etc/passwd", "IPXE.EFI"} {
		wt, err := client.Receive(name, "octet")
		if err == nil {
			_, err = wt.WriteTo(new(bytes.Buffer))
		}
		if err == nil || !strings.Contains(err.Error(), "file does not exist") {
			t.Errorf("reading %q: %v, want refusal", name, err)
		}
	}
	rf, err := client.Send("ipxe.efi", "octet")
	if err == nil {
		_, err = rf.ReadFrom(strings.NewReader("other"))
	}
	if err == nil || !strings.Contains(err.Error(), "does not support write requests") {
		t.Errorf("writing: %v, want refusal", err)
	}
}

// A relayed request is answered to the relay's port 67, a broadcast leaves the
// machine: on loopback a client can only be seen to be answered through a
// recording connection.
type recorder struct {
	net.PacketConn
	sent chan packet
}

type packet struct {
	to string
	b  []byte
}

func (r recorder) WriteTo(b []byte, to net.Addr) (int, error) {
	r.sent <- packet{to.String(), bytes.Clone(b)}
	return len(b), nil
}

func TestDHCP(t *testing.T) {
	conn := recorder{listen(t), make(chan packet, 8)}
	serve(t, func(ctx context.Context) error { return netboot.DHCP(ctx, conn, config(), nil) })
	client := listen(t)
	defer client.Close()
	stranger := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}
	for _, b := range [][]byte{[]byte("not a packet"), request(t, dhcpv4.WithHwAddr(stranger)).ToBytes(), request(t).ToBytes()} {
		if _, err := client.WriteTo(b, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-conn.sent:
		reply, err := dhcpv4.FromBytes(got.b)
		if err != nil {
			t.Fatal(err)
		}
		if got.to != "255.255.255.255:68" || reply.MessageType() != dhcpv4.MessageTypeOffer || reply.ClientHWAddr.String() != mac.String() {
			t.Errorf("first answer to %s: %s", got.to, reply.Summary())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
	}
}

// FuzzTFTP sends one packet to a server of TFTP: whatever it is, the only bytes
// that come back are those of the boot loader, and the next machine is served.
func FuzzTFTP(f *testing.F) {
	f.Add([]byte("\x00\x01ipxe.efi\x00octet\x00"))
	f.Add([]byte("\x00\x01/ipxe.efi\x00octet\x00tsize\x000\x00blksize\x008\x00"))
	f.Add([]byte("\x00\x01ipxe.efi\x00octet\x00blksize\x0099999999999\x00windowsize\x00-1\x00timeout\x000\x00"))
	f.Add([]byte("\x00\x01../../etc/passwd\x00netascii\x00"))
	f.Add([]byte("\x00\x02ipxe.efi\x00octet\x00"))
	f.Add([]byte("\x00\x04\x00\x01"))
	f.Add([]byte{0})
	loader := bytes.Repeat([]byte("loader"), 300)
	conn := listen(f)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- netboot.TFTP(ctx, conn, func() ([]byte, error) { return loader, nil }, nil)
	}()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	whole := []byte("\x00\x01ipxe.efi\x00octet\x00")
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > 1400 {
			return
		}
		client := listen(t)
		defer client.Close()
		other := listen(t)
		defer other.Close()
		if _, err := client.WriteTo(packet, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		// The server takes one packet after the other: once this one is answered,
		// that one was taken.
		if _, err := other.WriteTo(whole, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, other, 5*time.Second); !bytes.HasPrefix(got, []byte{0, 3, 0, 1}) || !bytes.Equal(got[4:], loader[:512]) {
			t.Fatalf("after %q the next machine was sent %.40q", packet, got)
		}
		got := answer(t, client, 2*time.Millisecond)
		switch {
		case len(got) == 0:
		case len(got) < 4 || got[0] != 0:
			t.Errorf("%q was answered with %q", packet, got)
		case got[1] == 3 && !bytes.HasPrefix(loader, got[4:]):
			t.Errorf("%q was answered with other bytes: %.40q", packet, got)
		case got[1] != 3 && got[1] != 5 && got[1] != 6:
			t.Errorf("%q was answered with %q", packet, got)
		}
	})
}

// answer returns what arrives within a time, and tells the sender to stop.
func answer(t *testing.T, conn net.PacketConn, within time.Duration) []byte {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	n, from, err := conn.ReadFrom(b)
	if err != nil {
		return nil
	}
	_, _ = conn.WriteTo([]byte("\x00\x05\x00\x00stop\x00"), from)
	return b[:n]
}
