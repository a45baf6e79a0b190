package netboot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// ListenDHCP opens the DHCP socket of one interface. It needs the right to use
// port 67 and to bind to a device.
func ListenDHCP(iface string) (net.PacketConn, error) { return listen(iface, DHCPPort) }

// ListenProxy opens the second socket of a proxy.
func ListenProxy(iface string) (net.PacketConn, error) { return listen(iface, ProxyPort) }

func listen(iface string, port int) (net.PacketConn, error) {
	conn, err := server4.NewIPv4UDPConn(iface, &net.UDPAddr{Port: port})
	if err != nil {
		return nil, fmt.Errorf("interface %s, port %d: %w", iface, port, err)
	}
	return conn, nil
}

// DHCP answers the requests that arrive at conn until ctx is done, and closes
// conn. A nil log discards.
func DHCP(ctx context.Context, conn net.PacketConn, c Config, log *slog.Logger) error {
	return serve(ctx, conn, log, func(req *dhcpv4.DHCPv4, _ net.Addr) (answer, error) {
		reply, decision, err := Reply(req, c)
		a := answer{reply: reply, decision: decision}
		if reply != nil {
			a.to = Destination(req, reply)
		}
		return a, err
	})
}

// Proxy is [DHCP] for a proxy, at conn, which is open at port: 67 or [ProxyPort].
func Proxy(ctx context.Context, conn net.PacketConn, port int, c Config, log *slog.Logger) error {
	return serve(ctx, conn, log, func(req *dhcpv4.DHCPv4, peer net.Addr) (answer, error) {
		reply, decision, err := ProxyReply(req, port, c)
		a := answer{reply: reply, decision: decision}
		if reply != nil {
			a.to = proxyDestination(req, reply, port, peer)
		}
		return a, err
	})
}

// answer is what a request is answered with, and where that goes.
type answer struct {
	reply    *dhcpv4.DHCPv4
	decision Decision
	to       net.Addr
}

// serve answers requests until ctx is done, and closes conn.
func serve(ctx context.Context, conn net.PacketConn, log *slog.Logger, decide func(req *dhcpv4.DHCPv4, peer net.Addr) (answer, error)) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	buf := make([]byte, 64<<10)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading DHCP requests: %w", err)
		}
		req, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			log.Debug("not a dhcp packet", "error", err)
			continue
		}
		a, err := decide(req, peer)
		send(conn, req, a, err, log)
	}
}

// send sends an answer, and logs what became of the request.
func send(conn net.PacketConn, req *dhcpv4.DHCPv4, a answer, err error, log *slog.Logger) {
	log = log.With("mac", req.ClientHWAddr.String(), "message", req.MessageType().String(), "decision", string(a.decision))
	switch {
	case err != nil:
		log.Error("dhcp request not answered", "error", err)
		return
	case a.reply == nil:
		log.Info("dhcp request ignored")
		return
	}
	if _, err := conn.WriteTo(a.reply.ToBytes(), a.to); err != nil {
		log.Error("dhcp answer not sent", "to", a.to.String(), "error", err)
		return
	}
	log.Info("dhcp request answered", "address", a.reply.YourIPAddr.String(), "file", a.reply.BootFileName)
}
