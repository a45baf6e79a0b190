package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
	"github.com/k8snode/k8snode/provision/admin"
)

// proxyCluster gives one of two machines a place.
const proxyCluster = `apiVersion: k8snode.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.37.2}
  endpoint: {name: api.lab.internal}
  provision: {address: 10.77.0.1}
  nodes:
    - {name: cp1, role: controlPlane, mac: "52:54:00:6b:00:0b", address: 10.77.0.11/24, disk: {minSizeGiB: 8}}
`

// TestProxyDHCP boots two machines from the network where dnsmasq gives the
// addresses and k8snode says what to load: the firmware, and then iPXE, put the two
// answers together. One machine is a node, nobody knows the other one.
func TestProxyDHCP(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	accelerator, err := qemu.ParseAccelerator(os.Getenv("K8SNODE_ACCEL"))
	must(t, err)
	ctx, dir := t.Context(), t.TempDir()
	write(t, filepath.Join(dir, "cluster.yaml"), proxyCluster)
	write(t, filepath.Join(dir, "passphrase"), "correct horse battery staple\n")
	run(t, *k8snode, "secrets", "init", "--out", filepath.Join(dir, "secrets.age"), "--passphrase-file", filepath.Join(dir, "passphrase"))

	machines, leases := twoNetworks(t)
	_, err = leases.Start(ctx, lab.Program{
		Label: "dnsmasq", Path: "dnsmasq", Log: filepath.Join(dir, "dnsmasq.log"),
		Args: []string{
			"--no-daemon", "--user=root", "--no-resolv", "--no-hosts", "--port=0", "--log-dhcp",
			"--interface=" + leases.Bridge(), "--bind-interfaces", "--dhcp-leasefile=" + filepath.Join(dir, "leases"),
			"--dhcp-range=10.77.0.100,10.77.0.120,255.255.255.0,1h",
		},
	})
	must(t, err)
	// The path of a socket must be short.
	socket := filepath.Join(machines.StateDir(), "serve.sock")
	log := filepath.Join(dir, "serve.log")
	program, err := filepath.Abs(*k8snode)
	must(t, err)
	_, err = machines.Start(ctx, lab.Program{
		Label: "serve", Path: program, Log: log,
		Args: []string{
			"serve", "--cluster", filepath.Join(dir, "cluster.yaml"), "--secrets", filepath.Join(dir, "secrets.age"),
			"--passphrase-file", filepath.Join(dir, "passphrase"), "--image", *image, "--data", filepath.Join(dir, "data"), "--socket", socket,
			"--interface", machines.Bridge(), "--dhcp", "proxy", "--boot-unknown",
		},
	})
	must(t, err)
	waitForLog(t, log, time.Minute, "part=\"dhcp proxy, port 4011\"")

	const stranger = "52:54:00:6b:00:99"
	for name, mac := range map[string]string{"cp1": "52:54:00:6b:00:0b", "stranger": stranger} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		m, err := lab.NewQEMU(ctx, machines, lab.QEMUOptions{
			Name: name, MAC: mac, Dir: filepath.Join(dir, name), MemoryMiB: 1024, CPUs: 1, DiskGiB: 8, Accelerator: accelerator,
		})
		must(t, err)
		must(t, m.Start(ctx))
	}
	// The window is closed, so cp1 is told to start its disk.
	waitForLog(t, log, 5*time.Minute, `msg="boot script served" node=cp1 mac=`+"52:54:00:6b:00:0b"+` address=10.77.0.1`, `msg="unknown machine"`)
	out, err := exec.CommandContext(ctx, *k8snode, "nodes", "--unknown", "-o", "json", "--socket", socket).Output()
	must(t, err)
	var seen []admin.Stranger
	must(t, json.Unmarshal(out, &seen))
	if len(seen) != 1 || !slices.Contains(seen[0].MACs, stranger) || seen[0].Manufacturer != "QEMU" {
		t.Errorf("unknown machines: %s", out)
	}
	given := netip.MustParsePrefix("10.77.0.96/27")
	if addr, err := netip.ParseAddr(seen[0].Address); err != nil || !given.Contains(addr) {
		t.Errorf("the unknown machine is at %s, not where dnsmasq put it", seen[0].Address)
	}
}

// twoNetworks returns networks whose bridges are one segment. Each has a namespace of
// its own, so that a port is used in both.
func twoNetworks(t *testing.T) (a, b *lab.Network) {
	t.Helper()
	ctx := t.Context()
	open := func(address string) *lab.Network {
		n, err := lab.New(ctx, lab.Options{Address: netip.MustParsePrefix(address)})
		must(t, err)
		t.Cleanup(func() {
			if err := n.Close(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	a, b = open("10.77.0.1/24"), open("10.77.0.2/24")
	run(t, "ip", "-n", a.Name(), "link", "add", "cable0", "type", "veth", "peer", "name", "cable0", "netns", b.Name())
	for _, n := range []*lab.Network{a, b} {
		run(t, "ip", "-n", n.Name(), "link", "set", "cable0", "master", n.Bridge(), "up")
	}
	return a, b
}

// waitForLog waits until a log has all texts.
func waitForLog(t *testing.T, log string, patience time.Duration, texts ...string) {
	t.Helper()
	var missing error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		content, err := os.ReadFile(log)
		missing = err
		for _, text := range texts {
			if err == nil && !strings.Contains(string(content), text) {
				missing = fmt.Errorf("it has no %q", text)
			}
		}
		if missing == nil {
			return
		}
	}
	content, _ := os.ReadFile(log)
	t.Fatalf("reading %s for %s: %v\n%s", log, patience, missing, content)
}
