package embedarea_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/k8snode/k8snode/internal/embedarea"
	"github.com/k8snode/k8snode/provision/api"
)

const size = 4096

// ca is a certificate that signs nothing.
const ca = `-----BEGIN CERTIFICATE-----
MIIBSjCB8aADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMTAmNhMB4XDTI2
MDEwMTAwMDAwMFoXDTM2MDEwMTAwMDAwMFowDTELMAkGA1UEAxMCY2EwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAASntA7Mel/6lvP/y8WZTCUsEEhGLg4OnsBKe1YT
fqIG/ORkv9UwTFi1xbGWa8pZUVQOCFmIUwk3t4hygDacLtyco0IwQDAOBgNVHQ8B
Af8EBAMCAgQwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU/jyAh96jhGxD/7aB
K/EwyJDPSVAwCgYIKoZIzj0EAwIDSAAwRQIgCDSwi6oCVK0TTbI3KVjT8Mo2VoQA
xlJIZPJrYFeRUhoCIQCxZvJ1qzh71xBHzD+CcM3j+Qz9MGsh9FMW1y5K5KFJPQ==
-----END CERTIFICATE-----
`

func generic() embedarea.Document {
	return embedarea.Document{Seed: api.Seed{Server: "https://10.0.0.1:8443", CA: ca}}
}

func node() embedarea.Document {
	d := generic()
	d.Seed.Node, d.Seed.Token = "w1", "w1.secret"
	d.MACs = []string{"52:54:00:00:00:01", "52:54:00:00:00:02"}
	d.Network = &embedarea.Network{
		MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("10.0.0.9/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
		DNS: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
	}
	return d
}

var equal = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}) //nolint:gochecknoglobals // for all tests

func TestRoundTrip(t *testing.T) {
	for name, d := range map[string]embedarea.Document{"generic": generic(), "node": node()} {
		area, err := embedarea.Encode(d, size)
		if err != nil || len(area) != size {
			t.Fatalf("%s: %d bytes, %v", name, len(area), err)
		}
		got, err := embedarea.Decode(area)
		if diff := cmp.Diff(d, got, equal); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for want, change := range map[string]func(*embedarea.Document){
		`the server "http://10.0.0.1" is not an https URL`:          func(d *embedarea.Document) { d.Seed.Server = "http://10.0.0.1" },
		"the authority is no PEM certificate":                       func(d *embedarea.Document) { d.Seed.CA = "x" },
		"it has one of a node and a token, not both":                func(d *embedarea.Document) { d.Seed.Token = "" },
		"it is for every machine, and has the interfaces of one":    func(d *embedarea.Document) { d.Seed.Token, d.Seed.Node = "", "" },
		`"lo" is not the MAC address of an Ethernet interface`:      func(d *embedarea.Document) { d.MACs = []string{"lo"} },
		`"" is not the MAC address of an Ethernet interface`:        func(d *embedarea.Document) { d.Network.MAC = "" },
		"the address fd00::9/64 is not IPv4 with a prefix length":   func(d *embedarea.Document) { d.Network.Address = netip.MustParsePrefix("fd00::9/64") },
		"the gateway 10.0.1.1 is not in the network of 10.0.0.9/24": func(d *embedarea.Document) { d.Network.Gateway = netip.MustParseAddr("10.0.1.1") },
		"the name server invalid IP is not an address":              func(d *embedarea.Document) { d.Network.DNS = []netip.Addr{{}} },
	} {
		d := node()
		change(&d)
		if _, err := embedarea.Encode(d, size); err == nil || err.Error() != "writing the embed area: "+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := embedarea.Encode(node(), 400); err == nil || !strings.HasSuffix(err.Error(), "do not fit into 356") {
		t.Errorf("a small area: %v", err)
	}
}

// area is what Encode makes, around any payload.
func area(payload string) []byte {
	b := binary.BigEndian.AppendUint32([]byte(embedarea.Magic), uint32(len(payload)))
	sum := sha256.Sum256([]byte(payload))
	b = append(append(b, sum[:]...), payload...)
	return append(b, make([]byte, size-len(b))...)
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := embedarea.Encode(node(), size)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func([]byte)) []byte {
		b := bytes.Clone(whole)
		change(b)
		return b
	}
	for _, tt := range []struct {
		name string
		area []byte
		want error
		text string
	}{
		{"nothing written", make([]byte, size), embedarea.ErrEmpty, ""},
		{"no bytes", nil, embedarea.ErrCorrupt, "it has 0 bytes"},
		{"cut short", whole[:200], embedarea.ErrCorrupt, "is out of range"},
		{"no magic", changed(func(b []byte) { b[0]++ }), embedarea.ErrCorrupt, "it has no magic number"},
		{"zero length", changed(func(b []byte) { clear(b[8:12]) }), embedarea.ErrCorrupt, "the length 0 is out of range"},
		{"great length", changed(func(b []byte) { b[8] = 0xff }), embedarea.ErrCorrupt, "is out of range"},
		{"another payload", changed(func(b []byte) { b[60]++ }), embedarea.ErrCorrupt, "its digest is of something else"},
		{"something behind", changed(func(b []byte) { b[size-1]++ }), embedarea.ErrCorrupt, "its digest is of something else"},
		{"no document", area("x"), nil, "reading the embed area: invalid character"},
		{"an unknown key", area(`{"wifi": {}}`), nil, `unknown field "wifi"; was it written by a newer k8snode than the image's?`},
		{"two documents", area("{}{}"), nil, "it has more than one document"},
		{"an impossible document", area("{}"), nil, `the server "" is not an https URL`},
	} {
		_, err := embedarea.Decode(tt.area)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %v, %q", tt.name, err, tt.want, tt.text)
		}
	}
}

// What Decode accepts, Encode accepts, and it says the same.
func FuzzDecode(f *testing.F) {
	for _, d := range []embedarea.Document{generic(), node()} {
		b, err := embedarea.Encode(d, size)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "")
	}
	f.Add(make([]byte, size), "")
	f.Add([]byte(nil), `{"seed": {"server": "https://a", "ca": ""}}`)
	f.Fuzz(func(t *testing.T, b []byte, payload string) {
		if payload != "" && len(payload) < size-100 {
			b = area(payload)
		}
		d, err := embedarea.Decode(b)
		if err != nil {
			return
		}
		again, err := embedarea.Encode(d, max(len(b), size))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := embedarea.Decode(again); err != nil || !cmp.Equal(d, got, equal) {
			t.Errorf("%v\n%s", err, cmp.Diff(d, got, equal))
		}
	})
}
