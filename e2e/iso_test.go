package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// isoCluster has a machine for each kind of ISO.
const isoCluster = `apiVersion: k8snode.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.37.2}
  endpoint: {name: api.lab.internal}
  provision: {address: 10.77.0.1}
  nodes:
    - {name: cp1, role: controlPlane, mac: "52:54:00:6b:00:0b", address: 10.77.0.11/24, disk: {minSizeGiB: 8}}
    - {name: w1, role: worker, mac: "52:54:00:6b:00:15", address: 10.77.0.21/24, disk: {minSizeGiB: 8}}
`

// TestISO installs machines from a medium that stays where it is, and is what the
// firmware starts first each time.
func TestISO(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test-provision passes them")
	}
	for _, tt := range []struct {
		name, node, mac string
		firmware        qemu.Firmware
		// more arguments of serve, given the bridge, and of iso.
		serve func(bridge string) []string
		iso   []string
		// handed is how the disk is started, after the install.
		handed string
	}{
		{
			"uefi", "cp1", "52:54:00:6b:00:0b", qemu.UEFI,
			func(bridge string) []string { return []string{"--interface", bridge} }, nil, `k8snode: the next start is from /dev/`,
		},
		{
			// Nobody gives this machine an address.
			"bios", "w1", "52:54:00:6b:00:15", qemu.BIOS,
			func(string) []string { return nil }, []string{"--node", "w1", "--static"}, `k8snode: starting /dev/\S+ .* without the firmware`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRack(t, isoCluster, tt.serve)
			medium := filepath.Join(r.dir, "medium.iso")
			args := append([]string{"--image", *image, "--out", medium}, tt.iso...)
			if tt.iso == nil {
				run(t, *k8snode, append([]string{"iso", "--cluster", r.cluster, "--secrets", r.secrets, "--passphrase-file", r.passphrase}, args...)...)
			} else {
				args = append([]string{"iso", "--cluster", r.cluster, "--socket", r.socket}, args...)
				out, err := exec.CommandContext(t.Context(), *k8snode, args...).CombinedOutput()
				if want := "open a window first: k8snode arm " + tt.node; err == nil || !strings.Contains(string(out), want) {
					t.Fatalf("without a window: %v, %s", err, out)
				}
				r.arm(tt.node)
				run(t, *k8snode, args...)
			}
			m := r.machine(lab.QEMUOptions{
				Name: tt.node, MAC: tt.mac, MemoryMiB: 2048, CPUs: 2, DiskGiB: 24, Firmware: tt.firmware,
				CDROM: medium, Boot: []qemu.Device{qemu.DeviceCDROM, qemu.DeviceDisk},
			})
			console := lab.NewConsole(m.Console())
			see := func(pattern string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
				defer cancel()
				line, err := console.WaitFor(ctx, regexp.MustCompile(pattern))
				must(t, err)
				t.Logf("%s", line)
			}
			if tt.iso == nil {
				see("k8snode: node " + tt.node + ": nothing to install: no install window is open; .*; waiting; to install it: k8snode arm " + tt.node)
				r.arm(tt.node)
			}
			see("k8snode: installing node " + tt.node)
			see(tt.handed)
			see("k8snode: first boot: the config comes from the seed partition")
			r.reaches(tt.node, api.PhaseConfiguring)

			// Once more, from the medium: there is nothing to install, so the disk is
			// started. Where the firmware was told minutes ago, it is not told again.
			must(t, m.Reset(t.Context()))
			see(`k8snode: starting /dev/\S+ .* without the firmware`)
			see("k8snode: root: partuuid:")
			r.reaches(tt.node, api.PhaseBootstrapping)
		})
	}
}

// A labRack is a server and its machines, on a network of their own.
type labRack struct {
	t                                              *testing.T
	network                                        *lab.Network
	dir, cluster, secrets, passphrase, socket, log string
}

// newRack starts a server for a cluster document; more are further arguments of serve.
func newRack(t *testing.T, document string, more func(bridge string) []string) *labRack {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	network, err := lab.New(ctx, lab.Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := network.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	r := &labRack{
		t: t, network: network, dir: dir, cluster: filepath.Join(dir, "cluster.yaml"), secrets: filepath.Join(dir, "secrets.age"),
		passphrase: filepath.Join(dir, "passphrase"), log: filepath.Join(dir, "serve.log"),
		// The path of a socket must be short.
		socket: filepath.Join(network.StateDir(), "serve.sock"),
	}
	write(t, r.cluster, document)
	write(t, r.passphrase, "correct horse battery staple\n")
	run(t, *k8snode, "secrets", "init", "--out", r.secrets, "--passphrase-file", r.passphrase)
	_, err = network.Start(ctx, lab.Program{
		Label: "serve", Path: absolute(t, *k8snode), Log: r.log,
		Args: append([]string{
			"serve", "--cluster", r.cluster, "--secrets", r.secrets, "--passphrase-file", r.passphrase, "--image", absolute(t, *image),
			"--data", filepath.Join(dir, "data"), "--socket", r.socket,
		}, more(network.Bridge())...),
	})
	must(t, err)
	waitForLog(t, r.log, time.Minute, "part=admin")
	return r
}

// machine switches a machine on.
func (r *labRack) machine(o lab.QEMUOptions) *lab.QEMU {
	r.t.Helper()
	var err error
	o.Accelerator, err = qemu.ParseAccelerator(os.Getenv("K8SNODE_ACCEL"))
	must(r.t, err)
	o.Dir = filepath.Join(r.dir, o.Name)
	must(r.t, os.Mkdir(o.Dir, 0o700))
	m, err := lab.NewQEMU(r.t.Context(), r.network, o)
	must(r.t, err)
	must(r.t, m.Start(r.t.Context()))
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("the console of %s:\n%s\nthe server:\n%s", o.Name, lab.Tail(m.Console()), lab.Tail(r.log))
		}
	})
	return m
}

func (r *labRack) arm(node string) {
	r.t.Helper()
	run(r.t, *k8snode, "arm", node, "--socket", r.socket)
}

// reaches waits until the server has heard of a phase, or a later one.
func (r *labRack) reaches(node string, phase api.Phase) {
	r.t.Helper()
	var last admin.Node
	for deadline := time.Now().Add(8 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		out, err := exec.CommandContext(r.t.Context(), *k8snode, "nodes", "-o", "json", "--socket", r.socket).Output()
		must(r.t, err)
		var nodes []admin.Node
		must(r.t, json.Unmarshal(out, &nodes))
		last = nodes[slices.IndexFunc(nodes, func(n admin.Node) bool { return n.Name == node })]
		if last.Phase == api.PhaseFailed {
			break
		}
		if slices.Index(api.Phases(), last.Phase) >= slices.Index(api.Phases(), phase) {
			return
		}
	}
	r.t.Fatal(fmt.Errorf("node %s is not %s: %+v", node, phase, last))
}
