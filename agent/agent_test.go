package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/seed"
	"github.com/k8snode/k8snode/provision/api"
)

// A machine is a root for one run after another.
type machine struct {
	t              *testing.T
	root           string
	stdout, stderr bytes.Buffer
}

func newMachine(t *testing.T) *machine { return &machine{t: t, root: t.TempDir()} }

func (m *machine) run(args ...string) int {
	m.stdout.Reset()
	m.stderr.Reset()
	return agent.Run(context.Background(), agent.Env{
		Stdout: &m.stdout, Stderr: &m.stderr, Root: m.root,
		Runner: command.Runner{Dir: m.root},
		Now:    func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) },
	}, args)
}

func (m *machine) write(path string, v any) {
	m.t.Helper()
	data, ok := v.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			m.t.Fatal(err)
		}
	}
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// server makes a TLS server and returns a seed for it.
func server(t *testing.T, handler http.HandlerFunc) api.Seed {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return api.Seed{Node: "w1", Server: s.URL, CA: string(ca), Token: "t"}
}

func TestUsage(t *testing.T) {
	m := newMachine(t)
	for _, tt := range []struct {
		args []string
		code int
		want string // of stderr
	}{
		{nil, agent.ExitUsage, "k8snode-agent: error: no verb\nusage: k8snode-agent VERB"},
		{[]string{"dance"}, agent.ExitUsage, "k8snode-agent: error: unknown verb \"dance\"\n"},
		{[]string{"import", "x"}, agent.ExitUsage, "k8snode-agent: error: import takes no argument \"x\"\n"},
		{[]string{"import", "--x"}, agent.ExitUsage, "flag provided but not defined: -x\n"},
		{[]string{"report"}, agent.ExitUsage, `k8snode-agent: error: --phase is "", want one of ["bootstrapping" "ready" "failed"]`},
		{[]string{"seed", "--device", "a"}, agent.ExitUsage, "flag provided but not defined: -device\n"},
		{[]string{"scrub", "-h"}, agent.ExitOK, "Usage of k8snode-agent scrub:\n"},
		{[]string{"etcd-guard"}, agent.ExitFailed, "k8snode-agent: error: reading /etc/k8snode/node.json: open "},
	} {
		if code := m.run(tt.args...); code != tt.code || !strings.HasPrefix(m.stderr.String(), tt.want) {
			t.Errorf("%q: code %d, stderr %q; want %d, %q", tt.args, code, &m.stderr, tt.code, tt.want)
		}
	}
	if code := m.run("help"); code != agent.ExitOK || m.stdout.String() != `usage: k8snode-agent VERB [FLAGS]

  install       write the image to the disk of a machine that was started from the network or from a medium
  root          open the root of the image, wherever it is, and check it
  seed          decide whether this is a first boot, and hand its config to Ignition
  scrub         mark the first boot as done, and erase the config that it used
  disk-links    name the links of a disk, for udev
  etcd-guard    decide how etcd may start, and wait until it may
  etcd-promote  make this node's member of etcd one that votes
  etcd-backup   save a snapshot of etcd
  import        import the baked container images into the runtime
  bootstrap     run kubeadm init or join, once
  renew         renew the certificates of a control plane that are about to expire
  report        tell the provisioning server how far this machine is
` {
		t.Errorf("code %d, stdout:\n%s", code, &m.stdout)
	}
}

func TestInstallFails(t *testing.T) {
	m := newMachine(t)
	var last api.Report
	m.write(api.SeedPath, server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == api.PathReport {
			json.NewDecoder(r.Body).Decode(&last)
			return
		}
		http.Error(w, "no window is open", http.StatusForbidden)
	}))
	if code := m.run("install"); code != agent.ExitFailed {
		t.Errorf("code %d", code)
	}
	for _, want := range []string{"INSTALLING NODE w1 FAILED", "server answered 403 Forbidden: no window is open", "The machine holds here."} {
		if !strings.Contains(m.stdout.String(), want) {
			t.Errorf("the console lacks %q:\n%s", want, &m.stdout)
		}
	}
	if last.Phase != api.PhaseFailed || last.Step != "plan" {
		t.Errorf("reported %+v", last)
	}
	m.write(api.SeedPath, []byte("{"))
	if code := m.run("install"); code != agent.ExitFailed || !strings.Contains(m.stdout.String(), "reading /etc/k8snode/seed.json: unexpected end of JSON input") {
		t.Errorf("code %d, console:\n%s", code, &m.stdout)
	}
}

// What ends a boot is said in one line, without the ways of a command line.
func TestHold(t *testing.T) {
	m := newMachine(t)
	m.write("/proc/cmdline", []byte("quiet\n"))
	want := "k8snode: reading the kernel command line: k8snode.root= is missing; k8snode.verity= is missing: " +
		"correct it in the boot menu or the boot script\n"
	for _, verb := range []string{"root", "seed", "scrub"} {
		if code := m.run(verb); code != agent.ExitFailed || m.stderr.String() != want {
			t.Errorf("%s: code %d, %s", verb, code, &m.stderr)
		}
	}
	line := "k8snode.root=file:/r k8snode.verity=" + strings.Repeat("0", 64) + ":4096"
	m.write("/proc/cmdline", []byte(line))
	if code := m.run("root"); code != agent.ExitFailed || !strings.HasPrefix(m.stderr.String(), "k8snode: there is no /r in the initramfs: ") {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
	if err := os.MkdirAll(filepath.Join(m.root, "sys/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code := m.run("seed"); code != agent.ExitFailed || !strings.HasPrefix(m.stderr.String(), "k8snode: there is no config, and ") {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
	m.write("/etc/k8snode/user.ign", []byte("config"))
	if code := m.run("seed"); code != agent.ExitOK || !strings.HasPrefix(m.stdout.String(), "k8snode: first boot: ") {
		t.Errorf("code %d, %s%s", code, &m.stdout, &m.stderr)
	}
	if got, err := os.ReadFile(filepath.Join(m.root, seed.ConfigFile)); err != nil || string(got) != "config" {
		t.Errorf("got %q, %v", got, err)
	}
	if code := m.run("scrub"); code != agent.ExitOK {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
}

func config(role node.Role) node.Config {
	return node.Config{Cluster: "c", ClusterID: "c1", Name: "n1", Role: role, Address: "10.0.0.1"}
}

func TestNodeFile(t *testing.T) {
	m := newMachine(t)
	m.write(node.Path, node.Config{Name: "n1"})
	want := "k8snode-agent: error: reading /etc/k8snode/node.json: name, clusterID or role is empty\n"
	for _, verb := range []string{"etcd-guard", "etcd-promote", "import", "bootstrap"} {
		if code := m.run(verb); code != agent.ExitFailed || m.stderr.String() != want {
			t.Errorf("%s: code %d, %s", verb, code, &m.stderr)
		}
	}
}

// The test's root is no mount point, which the guard must notice by itself.
func TestEtcdGuardAsksTheKernel(t *testing.T) {
	m := newMachine(t)
	cfg := config(node.ControlPlane)
	until := time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	cfg.Etcd = &node.Etcd{PeerURL: "https://10.0.0.1:2380", Members: map[string]string{"n1": "https://10.0.0.1:2380"}, GenesisUntil: &until}
	m.write(node.Path, cfg)
	if code := m.run("etcd-guard"); code != agent.ExitFailed || !strings.Contains(m.stderr.String(), "the data folder is not a mount point") {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
}

func TestImportNothing(t *testing.T) {
	m := newMachine(t)
	m.write(node.Path, config(node.Worker))
	if code := m.run("import"); code != agent.ExitOK || m.stdout.Len() > 0 {
		t.Errorf("code %d, %s%s", code, &m.stdout, &m.stderr)
	}
}

func TestBootstrapWithoutServer(t *testing.T) {
	m := newMachine(t)
	m.write(node.Path, config(node.Worker))
	for _, program := range []string{"kubeadm", "kubectl"} {
		m.write(program, []byte("#!/bin/sh\necho \"$*\"\n"))
		if err := os.Chmod(filepath.Join(m.root, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if code := m.run("bootstrap"); code != agent.ExitOK || m.stdout.String() != "2026-05-01T12:00:00Z join --config /etc/k8snode/kubeadm/join.yaml\n" {
		t.Errorf("code %d, %s%s", code, &m.stdout, &m.stderr)
	}
	if _, err := os.Stat(filepath.Join(m.root, node.Done)); err != nil {
		t.Error(err)
	}
}

func TestBootstrapAndReport(t *testing.T) {
	m := newMachine(t)
	m.write(node.Path, config(node.Worker))
	m.write(node.Done, []byte("done"))
	var got []string
	status := http.StatusOK
	m.write(api.ReportPath, server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s", r.URL.Path, body))
		w.WriteHeader(status)
	}))
	if code := m.run("bootstrap"); code != agent.ExitOK {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
	if code := m.run("report", "--phase", "bootstrapping", "--step", "s", "--message", "m"); code != agent.ExitOK {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
	status = http.StatusForbidden
	if code := m.run("bootstrap"); code != agent.ExitOK {
		t.Errorf("a refused report failed a node that is done: %d, %s", code, &m.stderr)
	}
	if code := m.run("report", "--phase", "ready"); code != agent.ExitFailed || !strings.Contains(m.stderr.String(), "reporting phase ready: POST ") {
		t.Errorf("code %d, %s", code, &m.stderr)
	}
	want := `/v1/report {"phase":"ready"};/v1/report {"phase":"bootstrapping","step":"s","message":"m"};/v1/report {"phase":"ready"};/v1/report {"phase":"ready"}`
	if strings.Join(got, ";") != want {
		t.Errorf("reports: %q", got)
	}
}
