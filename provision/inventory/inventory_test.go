package inventory_test

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/inventory"
)

const (
	uuidA = "4c4c4544-0051-3410-8052-b4c04f4d3132"
	uuidB = "4c4c4544-0051-3410-8052-b4c04f4d3133"
)

func machines() []inventory.Machine {
	return []inventory.Machine{
		{
			Name: "cp1", MAC: "52:54:00:6b:00:0b", MACs: []string{"52:54:00:6b:01:0b"}, UUID: uuidA, Serial: "SN-A1",
			Address: netip.MustParsePrefix("10.77.0.11/24"),
		},
		{Name: "w1", MAC: "52-54-00-6B-00-15", UUID: strings.ToUpper(uuidB), Address: netip.MustParsePrefix("10.77.0.21/24")},
		{Name: "w2", MAC: "52:54:00:6b:00:16", Serial: "SN-C3", Address: netip.MustParsePrefix("10.77.0.22/24")},
	}
}

func TestMatch(t *testing.T) {
	i, err := inventory.New(machines())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, query, want, err string }{
		{name: "the interface that it boots from", query: "mac=52-54-00-6b-00-0b", want: "cp1"},
		{name: "another interface", query: "mac=52:54:00:aa:aa:aa&mac=52:54:00:6b:01:0b&mac=", want: "cp1"},
		{name: "all there is", query: "mac=52:54:00:6b:00:0b&uuid=" + strings.ToUpper(uuidA) + "&serial=SN-A1", want: "cp1"},
		{name: "a new interface, known by UUID", query: "mac=52:54:00:aa:aa:aa&uuid=" + uuidB, want: "w1"},
		{name: "known by serial number", query: "mac=52:54:00:aa:aa:aa&uuid=4c4c4544-0051-3410-8052-b4c04f4d3199&serial=%20SN-C3", want: "w2"},
		{name: "a UUID that many have says nothing", query: "mac=52:54:00:6b:00:0b&uuid=03000200-0400-0500-0006-000700080009", want: "cp1"},
		{name: "a serial number that many have says nothing", query: "mac=52:54:00:6b:00:0b&serial=To%20be%20filled%20by%20O.E.M.", want: "cp1"},
		{name: "an interface that is not Ethernet", query: "mac=80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01&mac=52-54-00-6b-00-0b", want: "cp1"},
		{name: "a stranger", query: "mac=52:54:00:aa:aa:aa", err: "the machine is not in the inventory"},
		{name: "nothing", query: "", err: "the machine is not in the inventory"},
		{name: "two nodes", query: "mac=52:54:00:6b:00:0b&mac=52:54:00:6b:00:15", err: `conflict in the inventory: its interfaces are those of "cp1" and "w1"`},
		{name: "a moved interface", query: "mac=52:54:00:6b:00:15&uuid=" + uuidA, err: `conflict in the inventory: it has an interface of "w1" and the UUID of "cp1"`},
		{name: "another board", query: "mac=52:54:00:6b:00:15&uuid=4c4c4544-0051-3410-8052-b4c04f4d3199", err: `conflict in the inventory: it has an interface of "w1", whose UUID is ` + uuidB + `, not 4c4c4544-0051-3410-8052-b4c04f4d3199`},
		{name: "the serial number of another", query: "mac=52:54:00:6b:00:15&serial=SN-A1", err: `conflict in the inventory: it has an interface of "w1" and the serial number of "cp1"`},
		{name: "another serial number", query: "mac=52:54:00:6b:00:0b&serial=SN-X", err: `conflict in the inventory: it has an interface of "cp1", whose serial number is SN-A1, not SN-X`},
		{name: "UUID and serial number of two", query: "uuid=" + uuidB + "&serial=SN-A1", err: `conflict in the inventory: it has the UUID of "w1" and the serial number of "cp1"`},
		{name: "UUID known, another serial number", query: "uuid=" + uuidA + "&serial=SN-X", err: `conflict in the inventory: it has the UUID of "cp1", whose serial number is SN-A1, not SN-X`},
		{name: "serial number known, another UUID", query: "uuid=4c4c4544-0051-3410-8052-b4c04f4d3199&serial=SN-A1", err: `conflict in the inventory: it has the serial number of "cp1", whose UUID is ` + uuidA + `, not 4c4c4544-0051-3410-8052-b4c04f4d3199`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := inventory.ReadFacts(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			m, err := i.Match(facts)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || m.Name != tt.want {
				t.Errorf("%q, %v; want %q", m.Name, err, tt.want)
			}
		})
	}
}

func TestNewProblems(t *testing.T) {
	bad := machines()
	bad = append(bad,
		inventory.Machine{Name: "Not", MAC: "52:54", UUID: "00000000-0000-0000-0000-000000000000", Serial: "Default string", LocalBoot: "magic"},
		inventory.Machine{Name: "cp1", MAC: "52:54:00:6b:01:0b", UUID: uuidA, Serial: "SN-C3", Address: netip.MustParsePrefix("10.77.0.11/24")},
	)
	_, err := inventory.New(bad)
	want := `machine "Not": the name is not an RFC 1123 label
machine "Not": "52:54" is not a MAC address
machine "Not": "00000000-0000-0000-0000-000000000000" is not the UUID of one machine
machine "Not": "Default string" is not the serial number of one machine
machine "Not": invalid Prefix is not an IPv4 address with a prefix length
machine "Not": there is no way "magic" to boot the local disk
machine "cp1": name cp1 is that of "cp1"
machine "cp1": MAC 52:54:00:6b:01:0b is that of "cp1"
machine "cp1": UUID 4c4c4544-0051-3410-8052-b4c04f4d3132 is that of "cp1"
machine "cp1": serial number SN-C3 is that of "w2"
machine "cp1": address 10.77.0.11 is that of "cp1"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestReadFactsBounds(t *testing.T) {
	f, err := inventory.ReadFacts("manufacturer=" + url.QueryEscape("\x1b[31m"+strings.Repeat("ä", 500)) + "&product=%ff%fe")
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(f.Manufacturer, 0x1b) || len(f.Manufacturer) > 64 || f.Product != "" {
		t.Errorf("manufacturer %q, product %q", f.Manufacturer, f.Product)
	}
	for query, want := range map[string]string{
		"mac=52:54":  `reading the query of a machine: "52:54" is not a MAC address`,
		"mac=%zz":    `reading the query of a machine: invalid URL escape "%zz"`,
		many(20):     "reading the query of a machine: it names more than 16 interfaces",
		"mac=1&a;b=": `reading the query of a machine: invalid semicolon separator in query`,
	} {
		if _, err := inventory.ReadFacts(query); err == nil || err.Error() != want {
			t.Errorf("%.40s: %v, want %s", query, err, want)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&mac=52:54:00:00:00:%02x", i)
	}
	return b.String()[1:]
}

func TestSightings(t *testing.T) {
	var s inventory.Sightings
	at := func(sec int) time.Time {
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(sec) * time.Second)
	}
	from := netip.MustParseAddr("192.0.2.1")
	read := func(query string) inventory.Facts {
		f, err := inventory.ReadFacts(query)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := read("mac=52:54:00:00:00:01&mac=52:54:00:00:00:02"), read("mac=52:54:00:00:00:02&mac=52:54:00:00:00:01&product=R640")
	if !s.Saw(a, from, "unknown", at(0)) || s.Saw(b, from, "unknown", at(1)) {
		t.Error("the order of its interfaces makes a machine another one")
	}
	s.Saw(inventory.Facts{}, from, "unknown", at(2))
	all := s.All()
	if len(all) != 2 || all[1].Count != 2 || all[1].Product != "R640" || !all[1].First.Equal(at(0)) || !all[1].Last.Equal(at(1)) {
		t.Errorf("sightings %+v", all)
	}
	s.Known(a, from)
	if len(s.All()) != 1 {
		t.Error("a machine that was found is still a stranger")
	}
	for i := range 1000 {
		s.Saw(read(fmt.Sprintf("mac=52:54:00:00:%02x:%02x", i>>8, i&255)), from, "unknown", at(10+i))
	}
	if all = s.All(); len(all) != 256 || !all[0].Last.Equal(at(1009)) || !all[255].Last.Equal(at(754)) {
		t.Errorf("%d sightings, the newest %v, the oldest %v", len(all), all[0].Last, all[len(all)-1].Last)
	}
}

func FuzzReadFacts(f *testing.F) {
	f.Add("mac=52:54:00:6b:00:0b&uuid=" + uuidA + "&serial=SN-A1&manufacturer=Dell&product=R640")
	f.Add("mac=&serial=%00")
	i, err := inventory.New(machines())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		facts, err := inventory.ReadFacts(query)
		if err != nil {
			return
		}
		for _, text := range []string{facts.UUID, facts.Serial, facts.Manufacturer, facts.Product} {
			if len(text) > 64 || strings.ContainsAny(text, "\x00\x1b\n\r") {
				t.Errorf("%q was kept", text)
			}
		}
		m, err := i.Match(facts)
		conflict := (*inventory.ConflictError)(nil)
		if err != nil && !errors.Is(err, inventory.ErrUnknown) && !errors.As(err, &conflict) {
			t.Errorf("error %v", err)
		}
		if (err == nil) == (m.Name == "") {
			t.Errorf("machine %q with error %v", m.Name, err)
		}
	})
}
