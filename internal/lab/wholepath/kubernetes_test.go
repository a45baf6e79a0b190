package wholepath_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/lab/wholepath"
)

func TestPod(t *testing.T) {
	manifest, err := wholepath.PodManifest("registry.test/coredns/coredns:v1.15.0", "w1")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "pod.json"), append(manifest, '\n'))

	for _, tt := range []struct {
		name, object string
		seen         string
		running      bool
	}{
		{name: "new", object: `{}`, seen: "the pod is "},
		{
			name: "unscheduled",
			object: `{"status": {"phase": "Pending", "conditions": [
				{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}}`,
			seen: "the pod is Pending (Unschedulable: 0/2 nodes)",
		},
		{
			name: "image is missing",
			object: `{"status": {"phase": "Pending", "containerStatuses": [
				{"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}}]}}`,
			seen: "the pod is Pending (ErrImageNeverPull: not present)",
		},
		{name: "running without an address", object: `{"status": {"phase": "Running"}}`, seen: "the pod is Running"},
		{name: "running", object: `{"status": {"phase": "Running", "podIP": "10.244.1.2"}}`, running: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, running, err := wholepath.Running([]byte(tt.object))
			if err != nil {
				t.Fatal(err)
			}
			if seen != tt.seen || running != tt.running {
				t.Errorf("got %q, %t; want %q, %t", seen, running, tt.seen, tt.running)
			}
		})
	}
}

// serveWhoami answers DNS questions on loopback as CoreDNS's whoami plugin
// does, and returns a dialler that reaches it whatever the address.
func serveWhoami(t *testing.T, change func(*dnsmessage.Message)) func(ctx context.Context, network, address string) (net.Conn, error) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil {
				t.Errorf("reading the question: %v", err)
				return
			}
			m.Response = true
			m.Additionals = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: from.Addr().As4()},
			}}
			change(&m)
			answer, err := m.Pack()
			if err != nil {
				t.Errorf("packing the answer: %v", err)
				return
			}
			if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
				t.Errorf("answering: %v", err)
				return
			}
		}
	}()
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "10.244.1.2:53" {
			return nil, errors.New("dialled " + address)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, conn.LocalAddr().String())
	}
}

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*dnsmessage.Message)
		want    string
		wantErr string
	}{
		{name: "answer", change: func(*dnsmessage.Message) {}, want: "127.0.0.1"},
		{
			name:    "another answer",
			change:  func(m *dnsmessage.Message) { m.ID++ },
			wantErr: "reading the DNS answer: it answers something else",
		},
		{
			name:    "error",
			change:  func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure },
			wantErr: "reading the DNS answer: it says RCodeServerFailure",
		},
		{
			name:    "nothing about the client",
			change:  func(m *dnsmessage.Message) { m.Additionals = nil },
			wantErr: "reading the DNS answer: it does not say who asked",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wholepath.Ask(t.Context(), serveWhoami(t, tt.change), netip.MustParseAddr("10.244.1.2"))
			if errorText(err) != tt.wantErr {
				t.Fatalf("got error %v, want %q", err, tt.wantErr)
			}
			if err == nil && got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzWhoAsked(f *testing.F) {
	f.Add([]byte{0x6b, 0x38, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if who, err := wholepath.WhoAsked(answer); (err == nil) != who.IsValid() {
			t.Errorf("got address %v and error %v: want one of them", who, err)
		}
	})
}
