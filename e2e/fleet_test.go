package e2e_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/rack"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

var machines = flag.Int("machines", 150, "how many machines TestFleet has")

// TestFleet has machines that are not there go through a server that is: from armed
// to ready, each from its own address, while connections break, thieves ask, and the
// server is killed. Nobody gets what is not theirs, or gets it twice.
func TestFleet(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	s := newSite(t, *machines)
	s.start(t)
	client := admin.NewClient(s.socket)
	must(t, s.answers(t.Context(), client))
	for _, p := range s.places {
		_, err := client.Arm(t.Context(), p.Name, admin.ArmOptions{For: time.Hour})
		must(t, err)
	}
	// Twice, while the machines are on their way.
	arrived := make(chan struct{}, len(s.places))
	killed := make(chan error, 1)
	go func() { killed <- s.killAfter(arrived, len(s.places)/3, len(s.places)/3) }()
	was := time.Now()
	result, err := rack.Run(t.Context(), rack.Options{
		Places: s.places, Thief: netip.MustParseAddr("10.64.255.66"), HTTPURL: "http://" + s.address + ":8080", CA: s.authority,
		Dial: s.dial, Now: time.Now, Arrived: func() { arrived <- struct{}{} },
		Dice: func(machine int) rack.Dice { return rand.New(rand.NewPCG(*seed, uint64(machine))) },
	})
	must(t, err)
	must(t, <-killed)
	took, memory := time.Since(was).Seconds(), s.memory(t)
	nodes, err := client.Nodes(t.Context())
	must(t, err)
	for _, n := range nodes {
		if n.Phase != api.PhaseReady || n.Open {
			t.Errorf("%s is %s at the end, open: %t", n.Name, n.Phase, n.Open)
		}
	}
	if result.Failed() {
		t.Errorf("what may not happen: %s", strings.Join(result.Faults, "\n"))
	}
	t.Logf("machines %d, seconds %.1f, requests repeated %d, thefts tried %d, servers killed %d, memory %d MiB",
		result.Machines, took, result.Repeats, result.Thefts, s.kills, memory>>20)
	t.Logf("wrong %d, double %d, stolen %d, replayed %d", result.Wrong, result.Double, result.Stolen, result.Replayed)
	row(t, result.Machines, took, int(float64(result.Machines)/took*60), memory>>20, result.Wrong+result.Double+result.Stolen+result.Replayed)
	if result.Thefts == 0 || s.kills == 0 || result.Repeats == 0 {
		t.Error("nothing was tried")
	}
}

// provisioningSite is a server of a cluster document, in a network that answers for
// all of its addresses.
type provisioningSite struct {
	network              *lab.Network
	dir, address, socket string
	authority            string
	places               []rack.Place
	kills                int
	process              *exec.Cmd
}

func newSite(t *testing.T, n int) *provisioningSite {
	t.Helper()
	network, err := lab.New(t.Context(), lab.Options{Address: netip.MustParsePrefix("10.64.0.1/16")})
	must(t, err)
	t.Cleanup(func() { must(t, network.Close(context.WithoutCancel(t.Context()))) })
	run(t, "ip", "-n", network.Name(), "route", "add", "local", "10.64.0.0/16", "dev", "lo")
	s := &provisioningSite{network: network, dir: t.TempDir(), socket: filepath.Join(network.StateDir(), "serve.sock")}
	run(t, *k8snode, "init", s.dir, "--control-planes", "3", "--workers", strconv.Itoa(n-3), "--network", "10.64.0.0/16")
	write(t, filepath.Join(s.dir, "passphrase"), "correct horse battery staple\n")
	run(t, *k8snode, "secrets", "init", "--out", filepath.Join(s.dir, "secrets.age"), "--passphrase-file", filepath.Join(s.dir, "passphrase"))
	shown, err := exec.CommandContext(t.Context(), *k8snode, "secrets", "show", "--secrets", filepath.Join(s.dir, "secrets.age"),
		"--passphrase-file", filepath.Join(s.dir, "passphrase"), "--certificate", "k8snode-provision-ca").Output()
	must(t, err)
	s.authority = string(shown)
	c, err := cluster.Parse("cluster.yaml", []byte(read(t, filepath.Join(s.dir, "cluster.yaml"))))
	must(t, err)
	s.address = c.Spec.Provision.Address
	for _, n := range c.Spec.Nodes {
		s.places = append(s.places, rack.Place{Name: n.Name, MAC: n.MAC, Address: n.IP()})
	}
	return s
}

// start starts the server, again.
func (s *provisioningSite) start(t *testing.T) { t.Helper(); must(t, s.run()) }

func (s *provisioningSite) run() error {
	program, err := filepath.Abs(*k8snode)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "serve.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = s.network.Command(context.Background(), program, "serve", "--cluster", filepath.Join(s.dir, "cluster.yaml"),
		"--secrets", filepath.Join(s.dir, "secrets.age"), "--passphrase-file", filepath.Join(s.dir, "passphrase"),
		"--image", *image, "--data", filepath.Join(s.dir, "data"), "--socket", s.socket)
	s.process.Stdout, s.process.Stderr = log, log
	return s.process.Start()
}

// answers waits until the server does.
func (s *provisioningSite) answers(ctx context.Context, client *admin.Client) error {
	var err error
	for range 300 {
		if _, err = client.Nodes(ctx); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "serve.log"))
	return fmt.Errorf("the server does not answer: %w\n%s", err, log)
}

// killAfter takes the power from the server each time that so many more machines have
// arrived, and starts it again.
func (s *provisioningSite) killAfter(arrived <-chan struct{}, counts ...int) error {
	for _, count := range counts {
		for range count {
			<-arrived
		}
		if err := s.process.Process.Kill(); err != nil {
			return err
		}
		_ = s.process.Wait() // it was killed
		if err := s.run(); err != nil {
			return err
		}
		s.kills++
	}
	return nil
}

// dial connects from one of the machines' addresses.
func (s *provisioningSite) dial(ctx context.Context, from netip.Addr, address string) (net.Conn, error) {
	var conn net.Conn
	err := s.network.Do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
		var err error
		conn, err = d.DialContext(ctx, "tcp4", address)
		return err
	})
	return conn, err
}

// memory is what the server has, in bytes. The most that it ever had is more: to open
// the secrets with a passphrase takes 256 MiB.
func (s *provisioningSite) memory(t *testing.T) int {
	t.Helper()
	// "ip netns exec" has become the server: it is the same process.
	status := read(t, fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	m := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`).FindStringSubmatch(status)
	if m == nil || !bytes.Contains([]byte(status), []byte("Name:\tk8snode")) {
		t.Fatalf("reading the memory of the server:\n%s", status)
	}
	kib, err := strconv.Atoi(m[1])
	must(t, err)
	return kib << 10
}
