package medium_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/medium"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/embedarea"
	"github.com/k8snode/k8snode/provision/api"
)

const label = "K8SNODE-0123ABCD"

// A machine was started from a medium, and has a server.
type machine struct {
	t    *testing.T
	root string
	opts medium.Options
	doc  embedarea.Document

	mu sync.Mutex
	// answers are those of the server, one after the other, the last again and again;
	// a nil one is a fault.
	answers []*api.BootAnswer
	asked   int
	query   string
	console strings.Builder

	installed []string // the tokens
	started   []*api.DiskSelection
	// install and start are what comes of it.
	install, start error
}

func newMachine(t *testing.T, answers ...*api.BootAnswer) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), answers: answers}
	server := httptest.NewTLSServer(http.HandlerFunc(m.serve))
	t.Cleanup(server.Close)
	m.doc.Seed = api.Seed{Server: server.URL, CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))}
	for file, text := range map[string]string{
		"sys/class/dmi/id/product_uuid":   "4C4C4544-0042-3510-8052-B7C04F575232\n",
		"sys/class/dmi/id/product_serial": "7B5RW72\n",
		"sys/class/dmi/id/sys_vendor":     "Dell Inc.\n",
		"sys/class/net/eth0/address":      "52:54:00:00:00:01\n",
		"sys/class/net/eth0/type":         "1\n",
		"sys/class/net/eth0/device/x":     "",
		"sys/class/net/eth1/address":      "52:54:00:00:00:02\n",
		"sys/class/net/eth1/type":         "1\n",
		"sys/class/net/eth1/device/x":     "",
		"sys/class/net/bond0/address":     "52:54:00:00:00:02\n",
		"sys/class/net/bond0/type":        "1\n",
		"sys/class/net/ib0/address":       "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01\n",
		"sys/class/net/ib0/type":          "32\n",
		"sys/class/net/ib0/device/x":      "",
		"dev/disk/by-label/" + label:      "",
	} {
		m.write(file, text)
	}
	m.program("bin/mount", `echo "mount $@" >> "$ROOT/log"; for dir; do :; done; cp -r "$ROOT/medium/." "$dir/"`)
	m.program("bin/umount", `echo "umount $@" >> "$ROOT/log"; rm -r "$1"`)
	m.program("bin/usr/libexec/k8snode/network", `echo network >> "$ROOT/log"; [ ! -e "$ROOT/no-network" ]`)
	m.opts = medium.Options{
		Label: label, Root: m.root, Runner: command.Runner{Dir: filepath.Join(m.root, "bin")}, Console: &m.console,
		Poll: time.Millisecond, Patience: 5 * time.Millisecond, Remind: 3 * time.Millisecond, Wait: time.Nanosecond,
		Install: func(_ context.Context, c *client.Client) error {
			_, err := c.Plan(t.Context())
			m.installed = append(m.installed, c.Node())
			return errors.Join(err, m.install)
		},
		Start: func(_ context.Context, d *api.DiskSelection) error {
			m.started = append(m.started, d)
			return m.start
		},
	}
	return m
}

// serve is the server: it knows this machine as w1, and its token is "w1.given".
func (m *machine) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reply := func(v any) { json.NewEncoder(w).Encode(v) }
	switch token := r.Header.Get("Authorization"); r.URL.Path {
	case api.PathBoot:
		m.query = r.URL.RawQuery
		answer := m.answers[min(m.asked, len(m.answers)-1)]
		m.asked++
		if answer == nil || token != "" {
			http.Error(w, "not available", http.StatusServiceUnavailable)
			return
		}
		reply(answer)
	case api.PathSeed:
		reply(api.Seed{Node: "w1", Server: "https://elsewhere", CA: "x", Token: "w1.given"})
	case api.PathInstall:
		if token != "Bearer w1.given" && token != "Bearer w1.carried" {
			http.Error(w, "refused", http.StatusForbidden)
			return
		}
		reply(api.InstallPlan{Node: "w1", Stub: []byte("{}"), Image: api.InstallImage{
			DiskURL: "http://a/b", BlockMapURL: "http://a/c", BlockMapSHA256: strings.Repeat("00", 32),
		}})
	}
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) program(path, script string) {
	m.write(path, "#!/bin/sh\nset -e\nROOT="+m.root+"\n"+script+"\n")
}

func (m *machine) run() error {
	m.t.Helper()
	if _, err := os.Stat(filepath.Join(m.root, "medium")); err != nil {
		area, err := embedarea.Encode(m.doc, images.InstallerAreaSize)
		if err != nil {
			m.t.Fatal(err)
		}
		m.write("medium"+images.InstallerArea, string(area))
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
	defer cancel()
	return medium.Run(ctx, m.opts)
}

func (m *machine) says(want ...string) {
	m.t.Helper()
	for _, w := range want {
		if !strings.Contains(m.console.String(), "k8snode: "+w+"\n") {
			m.t.Errorf("the console lacks %q:\n%s", w, &m.console)
		}
	}
}

func (m *machine) log() string {
	b, _ := os.ReadFile(filepath.Join(m.root, "log"))
	return string(b)
}

var (
	disk    = api.DiskSelection{Serial: "S"}
	install = &api.BootAnswer{Node: "w1", Action: api.ActionInstall, Disk: disk}
	local   = &api.BootAnswer{Node: "w1", Action: api.ActionLocal, Disk: disk, Reason: "no install window is open", Remedy: "to install it: k8snode arm w1"}
	wait    = &api.BootAnswer{Action: api.ActionWait, Reason: "the machine is not in the inventory", Remedy: "add it"}
)

func TestFacts(t *testing.T) {
	m := newMachine(t, install)
	want := "mac=52%3A54%3A00%3A00%3A00%3A01&mac=52%3A54%3A00%3A00%3A00%3A02&manufacturer=Dell+Inc.&serial=7B5RW72&uuid=4C4C4544-0042-3510-8052-B7C04F575232"
	if got := medium.Facts(m.root).Encode(); got != want {
		t.Errorf("got %s", got)
	}
	if err := m.run(); err != nil || m.query != want {
		t.Errorf("%v, asked %s", err, m.query)
	}
}

// A medium for every machine: who waits, and is armed, is installed.
func TestEveryMachine(t *testing.T) {
	m := newMachine(t, wait, wait, nil, local, local, install)
	m.start = errors.New("no image is on the disk")
	if err := m.run(); err != nil {
		t.Fatal(err)
	}
	m.says(
		"asking "+m.doc.Seed.Server+" what to do with this machine",
		"machine 52:54:00:00:00:01 52:54:00:00:00:02: the machine is not in the inventory; waiting; add it",
		"node w1: nothing to install: no install window is open; no image is on the disk; waiting; to install it: k8snode arm w1",
		"restarting from whatever the firmware starts first: no image is on the disk",
	)
	if diff := cmp.Diff([]string{"w1"}, m.installed); diff != "" || len(m.started) != 3 || *m.started[2] != disk {
		t.Errorf("installed (-want +got):\n%s\nstarted %v", diff, m.started)
	}
	dir := m.root + "/run/k8snode/medium"
	if want := "mount -t iso9660 -o ro " + m.root + "/dev/disk/by-label/" + label + " " + dir + "\numount " + dir + "\nnetwork\n"; m.log() != want {
		t.Errorf("it did\n%s", m.log())
	}
}

// What a machine waits for is said again, so that who looks later sees it.
func TestReminder(t *testing.T) {
	answers := make([]*api.BootAnswer, 0, 11)
	for range 10 {
		answers = append(answers, wait)
	}
	m := newMachine(t, append(answers, install)...)
	if err := m.run(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(m.console.String(), "not in the inventory"); n < 2 || n > 5 {
		t.Errorf("said %d times in 10 polls, of which 3 are a reminder:\n%s", n, &m.console)
	}
}

func TestNothingToInstall(t *testing.T) {
	m := newMachine(t, local)
	if err := m.run(); err != nil || len(m.installed) != 0 || len(m.started) != 1 || *m.started[0] != disk {
		t.Errorf("%v, installed %v, started %v", err, m.installed, m.started)
	}
	m.says("node w1: nothing to install: no install window is open; starting its disk")
}

func (m *machine) carried() {
	m.doc.Seed.Node, m.doc.Seed.Token = "w1", "w1.carried"
	m.doc.MACs = []string{"52:54:00:00:00:02"}
}

func TestOneNode(t *testing.T) {
	m := newMachine(t, install)
	m.carried()
	m.doc.Network = &embedarea.Network{
		MAC: "52:54:00:00:00:02", Address: netip.MustParsePrefix("10.0.0.9/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
		DNS: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
	}
	if err := m.run(); err != nil || len(m.installed) != 1 {
		t.Fatalf("%v, installed %v", err, m.installed)
	}
	got, err := os.ReadFile(filepath.Join(m.root, "run/systemd/network/10-k8snode-medium.network"))
	want := "[Match]\nMACAddress=52:54:00:00:00:02\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n" +
		"Address=10.0.0.9/24\nGateway=10.0.0.1\nDNS=10.0.0.2\n"
	if err != nil || string(got) != want {
		t.Errorf("%v, the network is\n%s", err, got)
	}
}

func TestOneNodeRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*machine)
		want   string
	}{
		"another machine": {
			func(m *machine) { m.doc.MACs = []string{"52:54:00:00:00:09"} },
			"this medium is for node w1, whose machine has the interface 52:54:00:00:00:09; this one has 52:54:00:00:00:01, 52:54:00:00:00:02: take the medium to the other machine",
		},
		"a machine of another name": {
			func(m *machine) { m.answers = []*api.BootAnswer{{Node: "w2", Action: api.ActionLocal}} },
			"this medium is for node w1, and the server knows this machine as w2",
		},
		"an old token": {
			func(m *machine) { m.doc.Seed.Token = "w1.old" },
			"server answered 403 Forbidden: refused: the token of this medium is not good, or no longer: make the ISO again, in this window: k8snode iso --node w1",
		},
		"a disk that does not fit": {func(m *machine) { m.install = errors.New("selecting disk: none") }, "selecting disk: none"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, install)
			m.carried()
			tt.change(m)
			if err := m.run(); err == nil || !strings.Contains(err.Error(), tt.want) || len(m.started) != 0 {
				t.Errorf("got %v, started %v, want %s", err, m.started, tt.want)
			}
		})
	}
}

// A server or a network that is down does not keep a machine down that has an image.
func TestWithoutServer(t *testing.T) {
	m := newMachine(t, nil)
	if err := m.run(); err != nil || len(m.started) != 1 || m.started[0] != nil || m.asked < 5 {
		t.Errorf("%v, started %v, asked %d", err, m.started, m.asked)
	}
	m.says("the server has not answered for 5ms; starting the disk")

	m = newMachine(t, install)
	m.write("no-network", "")
	if err := m.run(); err != nil || len(m.started) != 1 || m.asked != 0 {
		t.Errorf("%v, started %v, asked %d", err, m.started, m.asked)
	}

	// Without an image it tries on: a cable may come.
	m = newMachine(t, install)
	m.write("no-network", "")
	m.start = errors.New("no image is on the disk")
	m.opts.Start = func(context.Context, *api.DiskSelection) error {
		if len(m.installed) == 0 {
			os.Remove(filepath.Join(m.root, "no-network"))
		}
		return m.start
	}
	if err := m.run(); err != nil || len(m.installed) != 1 {
		t.Errorf("%v, installed %v", err, m.installed)
	}
	if !strings.Contains(m.console.String(), "bringing up the network (does a cable have a link, and does a DHCP server answer?)") {
		t.Errorf("the console says\n%s", &m.console)
	}
}

func TestMedium(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*machine)
		want   string
	}{
		"no medium": {func(m *machine) { os.Remove(filepath.Join(m.root, "dev/disk/by-label", label)) }, "no medium labelled " + label + " appeared within 1ns: is it still attached?"},
		"no area":   {func(m *machine) { m.write("medium/x", "") }, "reading the medium " + label + ": open "},
		"nothing said": {func(m *machine) {
			m.write("medium"+images.InstallerArea, strings.Repeat("\x00", images.InstallerAreaSize))
		}, "the embed area is empty: nobody has told it where its server is: make the ISO again"},
		"cut short": {func(m *machine) { m.write("medium"+images.InstallerArea, "K8SAREA1") }, "the embed area is corrupt: it has 8 bytes, not 262144: make the ISO again"},
		"damaged": {func(m *machine) {
			m.write("medium"+images.InstallerArea, "x"+strings.Repeat("\x00", images.InstallerAreaSize-1))
		}, "the embed area is corrupt: it has no magic number: make the ISO again"},
		"no mount": {func(m *machine) { m.program("bin/mount", "exit 32") }, "mounting the medium " + label + ": "},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, install)
			tt.change(m)
			if err := m.run(); err == nil || !strings.Contains(err.Error(), tt.want) || len(m.started)+len(m.installed) > 0 {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// Who is not the server of the medium is not believed.
func TestImpostor(t *testing.T) {
	m := newMachine(t, install)
	other := newMachine(t, install)
	m.doc.Seed.Server = other.doc.Seed.Server
	key, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	m.doc.Seed.CA = string(key)
	if err := m.run(); err != nil || len(m.installed) != 0 {
		t.Errorf("%v, installed %v", err, m.installed)
	}
	if !strings.Contains(m.console.String(), "certificate") {
		t.Errorf("the console says\n%s", &m.console)
	}
	if fmt.Sprint(m.asked, other.asked) != "0 0" {
		t.Errorf("asked %d and %d", m.asked, other.asked)
	}
}
