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
func ListenDHCP(iface string) (net.PacketConn, error) {
	conn, err := server4.NewIPv4UDPConn(iface, &net.UDPAddr{Port: dhcpv4.ServerPort})
	if err != nil {
		return nil, fmt.Errorf("listening for DHCP on interface %q: %w", iface, err)
	}
	return conn, nil
}

// DHCP answers the requests that arrive at conn until ctx is done, and closes
// conn. A nil log discards.
func DHCP(ctx context.Context, conn net.PacketConn, c Config, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	buf := make([]byte, 64<<10)
	for {
		n, _, err := conn.ReadFrom(buf)
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
		answer(conn, req, c, log)
	}
}

func answer(conn net.PacketConn, req *dhcpv4.DHCPv4, c Config, log *slog.Logger) {
	reply, decision, err := Reply(req, c)
	log = log.With("mac", req.ClientHWAddr.String(), "message", req.MessageType().String(), "decision", string(decision))
	if err != nil {
		log.Error("dhcp request not answered", "error", err)
		return
	}
	if reply == nil {
		log.Info("dhcp request ignored")
		return
	}
	to := Destination(req, reply)
	if _, err := conn.WriteTo(reply.ToBytes(), to); err != nil {
		log.Error("dhcp answer not sent", "to", to.String(), "error", err)
		return
	}
	log.Info("dhcp request answered", "address", reply.YourIPAddr.String(), "file", reply.BootFileName)
}
