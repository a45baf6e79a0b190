package wholepath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// dnsID is the ID of every question: each has a socket of its own.
	dnsID = 0x6b38
	// dnsTimeout is how long one answer may take.
	dnsTimeout = 2 * time.Second
)

// dnsQuestion asks for the IPv4 address of a name.
func dnsQuestion(name string) ([]byte, error) {
	host, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, fmt.Errorf("asking for %q: %w", name, err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: dnsID, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: host, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// whoAsked reads the answer of CoreDNS's whoami plugin: the address of the
// client is an A record of the additional section.
func whoAsked(answer []byte) (netip.Addr, error) {
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil {
		return netip.Addr{}, fmt.Errorf("reading the DNS answer: %w", err)
	}
	switch {
	case m.ID != dnsID || !m.Response:
		return netip.Addr{}, errors.New("reading the DNS answer: it answers something else")
	case m.RCode != dnsmessage.RCodeSuccess:
		return netip.Addr{}, fmt.Errorf("reading the DNS answer: it says %s", m.RCode)
	}
	for _, r := range m.Additionals {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			return netip.AddrFrom4(a.A), nil
		}
	}
	return netip.Addr{}, errors.New("reading the DNS answer: it does not say who asked")
}

// ask sends one question over UDP and returns who the server says asked.
func ask(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), server netip.Addr) (netip.Addr, error) {
	question, err := dnsQuestion("whoami.example.org.")
	if err != nil {
		return netip.Addr{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	conn, err := dial(ctx, "udp", netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(question); err != nil {
		return netip.Addr{}, err
	}
	answer := make([]byte, 1232)
	n, err := conn.Read(answer)
	if err != nil {
		return netip.Addr{}, err
	}
	return whoAsked(answer[:n])
}
