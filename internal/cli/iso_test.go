package cli_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/embedarea"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

// mint is a server that gives the seed of w1, whose window is open.
type mint struct {
	server
	ca    string
	given int
}

func (m *mint) Seed(_ context.Context, name string) (admin.InstallSeed, error) {
	if name != "w1" {
		return admin.InstallSeed{}, fmt.Errorf("issuing a seed of node %q: %w: no install window is open", name, store.ErrClosed)
	}
	m.given++
	return admin.InstallSeed{Node: name, Server: "https://10.77.0.1:8443", CA: m.ca, Token: "w1.secret", MACs: []string{"52:54:00:6b:00:15"}, Until: windowEnd}, nil
}

const isoCluster = `apiVersion: k8snode.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.37.2}
  endpoint: {name: api.lab.internal}
  network: {gateway: 10.77.0.254, dns: [10.77.0.53]}
  provision: {address: 10.77.0.1}
  nodes:
    - {name: cp1, role: controlPlane, mac: "52:54:00:6b:00:0b", address: 10.77.0.11/24, disk: {minSizeGiB: 8}}
    - {name: w1, role: worker, mac: "52:54:00:6b:00:15", address: 10.77.0.21/24, disk: {minSizeGiB: 8}}
`

// readArea reads what is in the embed area of an ISO.
func readArea(t *testing.T, file string) embedarea.Document {
	t.Helper()
	image, err := iso.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	area, err := fs.ReadFile(image, strings.TrimPrefix(images.InstallerArea, "/"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := embedarea.Decode(area)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestISOOfNode(t *testing.T) {
	dir := t.TempDir()
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Outputs = []images.Output{images.OutputInstaller}
	p.Bake(t.Context(), filepath.Join(dir, "image"), t.TempDir(), func(err error) {
		if err != nil {
			t.Helper()
			t.Skip(err) // a tool of the host is missing
		}
	})
	document := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(document, []byte(isoCluster), 0o644); err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.New(pki.Options{Now: windowEnd, Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &mint{ca: bundle.Provision.Certificate}
	socket, out := start(t, s), filepath.Join(dir, "w1.iso")
	args := func(more ...string) []string {
		return append([]string{"iso", "--image", filepath.Join(dir, "image"), "--cluster", document, "--out", out, "--socket", socket}, more...)
	}

	code, stdout, stderr := run(args("--node", "cp1")...)
	want := "k8snode: error: issuing a seed of node \"cp1\": nothing is to be installed: no install window is open: open a window first: k8snode arm cp1\n"
	if code != 1 || stdout != "" || stderr != want {
		t.Errorf("a closed window: %d %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run(args("--node", "w1", "--static")...)
	want = "k8snode: " + out + " holds the install token of node w1: it is a secret until " + windowEnd.Local().Format("2006-01-02 15:04:05") + ", and worth nothing afterwards\n"
	if code != 0 || stdout != out+"\n" || stderr != want {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	if st, err := os.Stat(out); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	wantDoc := embedarea.Document{
		Seed: api.Seed{Node: "w1", Server: "https://10.77.0.1:8443", CA: s.ca, Token: "w1.secret"},
		MACs: []string{"52:54:00:6b:00:15"},
		Network: &embedarea.Network{
			MAC: "52:54:00:6b:00:15", Address: netip.MustParsePrefix("10.77.0.21/24"),
			Gateway: netip.MustParseAddr("10.77.0.254"), DNS: []netip.Addr{netip.MustParseAddr("10.77.0.53")},
		},
	}
	if diff := cmp.Diff(wantDoc, readArea(t, out), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("the embed area (-want +got):\n%s", diff)
	}
	// A token is not minted for nothing: it ends the one before.
	if code, _, stderr := run(args("--node", "w1")...); code != 1 || !strings.Contains(stderr, "file already exists") || s.given != 1 {
		t.Errorf("%d %s, %d tokens", code, stderr, s.given)
	}
}

// zeros is no randomness.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i)
	}
	return len(b), nil
}
