package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/bootstrap"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const (
	initCommand  = "kubeadm init --config /etc/k8snode/kubeadm/init.yaml\n"
	waitCommand  = "kubectl --kubeconfig /etc/k8snode/discovery.conf --request-timeout 10s get --raw /api/v1/namespaces/kube-system/configmaps/kube-proxy\n"
	joinCommand  = waitCommand + "kubeadm join --config /etc/k8snode/kubeadm/join.yaml\n"
	resetCommand = "kubeadm reset --force --skip-phases remove-etcd-member\n"
	applyCommand = "kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f /etc/k8snode/manifests\n"
)

// A machine has a root and fake programs that log their arguments.
type machine struct {
	t       *testing.T
	tools   string
	opts    bootstrap.Options
	out     bytes.Buffer
	log     bytes.Buffer
	reports []api.Report
	etcd    *etcdKeys
}

func newMachine(t *testing.T, role node.Role) *machine {
	t.Helper()
	m := &machine{t: t, tools: t.TempDir(), etcd: newEtcdKeys()}
	m.opts = bootstrap.Options{
		Config:      node.Config{Cluster: "c", ClusterID: "c1", Generation: 1, Name: "n1", Role: role, Address: "10.0.0.1"},
		Root:        t.TempDir(),
		Runner:      command.Runner{Dir: m.tools},
		Retry:       retry.Policy{First: time.Millisecond, Max: time.Millisecond, Limit: 500 * time.Millisecond},
		ClockWait:   -1,
		ReportLimit: time.Second,
		Now:         func() time.Time { return now },
		Rand:        rand.Reader,
		ElectPause:  time.Millisecond,
		Connect:     func(bootstrap.Options) (bootstrap.Store, error) { return m.etcd, nil },
		Out:         &m.out,
		Log:         slog.New(slog.NewTextHandler(&m.log, nil)),
		Report: func(_ context.Context, r api.Report) error {
			m.reports = append(m.reports, r)
			return nil
		},
	}
	m.tool("kubectl", "echo applied")
	if role == node.ControlPlane {
		for path, content := range map[string]string{
			"ca.crt": "CA", "ca.key": "KEY", "sa.pub": "PUB", "etcd/ca.crt": "ETCD", "apiserver-etcd-client.crt": "C",
		} {
			m.write(node.PKIDir+"/"+path, content, 0o640)
		}
		m.write(node.ManifestsDir+"/cni.yaml", "kind: List", 0o600)
		m.kubeadm("")
		return m
	}
	m.write(node.Discovery, "secret credential", 0o600)
	m.kubeadm("")
	return m
}

// kubeadm makes a fake that leaves what the real one leaves; during is run in
// the middle of init and join.
func (m *machine) kubeadm(during string) {
	m.tool("kubeadm", `cd `+m.opts.Root+`/etc
mkdir -p kubernetes/manifests
case "$1" in
reset) rm -rf kubernetes/pki/* kubernetes/manifests/* kubernetes/*.conf ;;
init)
	[ ! -e kubernetes/kubelet.conf ] || { echo "kubelet.conf already exists"; exit 2; }
	[ "$(cat kubernetes/pki/ca.key)" = KEY ] || { echo "no ca.key"; exit 2; }
	touch kubernetes/kubelet.conf kubernetes/manifests/kube-apiserver.yaml
	`+during+`
	touch kubernetes/admin.conf
	echo admin >kubernetes/super-admin.conf
	echo "kubeadm join api:6443 --token abcdef.0123456789abcdef"
	printf "no newline" ;;
join)
	[ ! -e kubernetes/kubelet.conf ] || { echo "kubelet.conf already exists"; exit 2; }
	[ ! -e kubernetes/pki/ca.crt ] || { echo "ca.crt already exists"; exit 2; }
	[ "$(cat k8snode/discovery.conf)" = "secret credential" ] || { echo "no credential"; exit 2; }
	mkdir -p kubernetes/pki
	touch kubernetes/kubelet.conf kubernetes/pki/ca.crt
	cp k8snode/discovery.conf kubernetes/bootstrap-kubelet.conf
	`+during+` ;;
esac`)
}

func (m *machine) tool(name, body string) {
	m.t.Helper()
	script := "#!/bin/sh\necho \"" + name + " $*\" >>" + m.tools + "/log\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(m.tools, name), []byte(script), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) path(p string) string { return filepath.Join(m.opts.Root, p) }

func (m *machine) write(path, content string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(path)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(path), []byte(content), mode); err != nil {
		m.t.Fatal(err)
	}
}

// wantNothingUsedUp wants that a node keeps no secret that it needed once.
func (m *machine) wantNothingUsedUp() {
	m.t.Helper()
	for _, path := range []string{node.Discovery, "/etc/kubernetes/bootstrap-kubelet.conf", "/etc/kubernetes/super-admin.conf"} {
		m.wantAbsent(path)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(m.path(path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func (m *machine) wantAbsent(paths ...string) {
	m.t.Helper()
	for _, p := range paths {
		if _, err := os.Lstat(m.path(p)); !os.IsNotExist(err) {
			m.t.Errorf("%s exists: %v", p, err)
		}
	}
}

// run starts the bootstrap and compares the commands and the phases reported.
func (m *machine) run(wantCommands string, wantPhases ...string) error {
	m.t.Helper()
	os.Remove(m.tools + "/log")
	m.reports = nil
	m.out.Reset()
	err := bootstrap.Run(context.Background(), m.opts)
	data, _ := os.ReadFile(m.tools + "/log")
	if diff := cmp.Diff(wantCommands, strings.ReplaceAll(string(data), m.opts.Root, "")); diff != "" {
		m.t.Errorf("commands: %s", diff)
	}
	var phases []string
	for _, r := range m.reports {
		phases = append(phases, strings.TrimSuffix(string(r.Phase)+" "+r.Step, " "))
	}
	if diff := cmp.Diff(wantPhases, phases); diff != "" {
		m.t.Errorf("reports: %s", diff)
	}
	return err
}

func (m *machine) wantDone(content string) {
	m.t.Helper()
	if got := m.read(node.Done); got != content {
		m.t.Errorf("done is %q, want %q", got, content)
	}
}

func TestInit(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	if err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z init\n")
	m.wantNothingUsedUp()
	for path, mode := range map[string]os.FileMode{
		"ca.crt": 0o644, "ca.key": 0o600, "sa.pub": 0o600, "etcd/ca.crt": 0o644, "etcd": os.ModeDir | 0o700,
	} {
		info, err := os.Stat(m.path("/etc/kubernetes/pki/" + path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
	want := "2026-05-01T12:00:00Z kubeadm join api:6443 --token [redacted]\n" +
		"2026-05-01T12:00:00Z no newline\n2026-05-01T12:00:00Z applied\n"
	if diff := cmp.Diff(want, m.out.String()); diff != "" {
		t.Error(diff)
	}

	// After a reboot there is nothing to do, not even for a server that
	// refuses the report.
	m.opts.Report = func(context.Context, api.Report) error { return retry.Permanent(errors.New("403")) }
	if err := m.run(""); err != nil {
		t.Error(err)
	}
}

func TestJoin(t *testing.T) {
	m := newMachine(t, node.Worker)
	m.opts.Report = nil
	if err := m.run(joinCommand); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z join\n")
	m.wantNothingUsedUp()
}

// A control plane that has failed to join, and then ran init, keeps no credential
// of the first.
func TestInitAfterJoin(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.write(node.Discovery, "secret credential", 0o600)
	m.write("/etc/kubernetes/bootstrap-kubelet.conf", "secret credential", 0o600)
	if err := m.run("kubeadm reset --force --skip-phases remove-etcd-member\n"+initCommand+applyCommand,
		"bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantNothingUsedUp()
}

// What kubeadm wrote is on the disk before it is remembered that it has run.
func TestSync(t *testing.T) {
	for role, want := range map[node.Role]string{node.ControlPlane: "/etc/kubernetes/admin.conf", node.Worker: "/etc/kubernetes/kubelet.conf"} {
		m := newMachine(t, role)
		synced := 0
		m.opts.Sync = func() {
			synced++
			m.read(want)
			if record := m.read(node.StateDir + "/kubeadm.json"); strings.Contains(record, `"succeeded":true`) {
				t.Errorf("%s: it is remembered before it is written: %s", role, record)
			}
		}
		if err := bootstrap.Run(t.Context(), m.opts); err != nil || synced != 1 {
			t.Errorf("%s: %v, synced %d times, want once", role, err, synced)
		}
		if record := m.read(node.StateDir + "/kubeadm.json"); !strings.Contains(record, `"succeeded":true`) {
			t.Errorf("%s: it is not remembered: %s", role, record)
		}
	}
}

// Without kube-proxy there is no ConfigMap of its to wait for.
func TestJoinWithoutProxy(t *testing.T) {
	m := newMachine(t, node.Worker)
	m.opts.Report = nil
	m.opts.Config.NoProxy = true
	if err := m.run(strings.Replace(joinCommand, "configmaps/kube-proxy", "configmaps/kubelet-config", 1)); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z join\n")
}

// A worker that is faster than the control plane waits: kubeadm would give up
// where the API server answers but init has not made everything yet.
func TestJoinWaits(t *testing.T) {
	m := newMachine(t, node.Worker)
	m.opts.Report = nil
	m.tool("kubectl", `n=$(cat `+m.tools+`/asked 2>/dev/null || echo 0)
echo $((n+1)) >`+m.tools+`/asked
[ "$n" -ge 2 ] || { echo "configmaps \"kube-proxy\" is forbidden" >&2; exit 1; }`)
	if err := m.run(waitCommand + waitCommand + joinCommand); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z join\n")
}

func TestJoinWithoutControlPlane(t *testing.T) {
	m := newMachine(t, node.Worker)
	m.opts.JoinWait = 50 * time.Millisecond
	m.tool("kubectl", "echo connection refused >&2; exit 1")
	err := bootstrap.Run(t.Context(), m.opts)
	if err == nil || !strings.HasPrefix(err.Error(), "bootstrapping node: waiting for the control plane: ") ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
	m.wantAbsent(node.Done)
}

func TestFailedAttemptIsCleanedUp(t *testing.T) {
	for _, tt := range []struct {
		role                           node.Role
		first, second                  string
		failedStep, wantErr, wantPhase string
		steps                          []string
	}{
		{node.ControlPlane, initCommand, resetCommand + initCommand + applyCommand, "failed init",
			"bootstrapping node: running kubeadm init --config /etc/k8snode/kubeadm/init.yaml: exit status 1: " +
				"[kubelet-check] timed out\n--token [redacted]", "init", []string{"bootstrapping", "bootstrapping init"}},
		{node.Worker, joinCommand, resetCommand + joinCommand, "failed join",
			"bootstrapping node: running kubeadm join --config /etc/k8snode/kubeadm/join.yaml: exit status 1: " +
				"[kubelet-check] timed out\n--token [redacted]", "join", []string{"bootstrapping", "bootstrapping wait", "bootstrapping join"}},
	} {
		t.Run(string(tt.role), func(t *testing.T) {
			m := newMachine(t, tt.role)
			m.kubeadm(`echo "[kubelet-check] timed out"; echo "--token abcdef.0123456789abcdef"; exit 1`)
			err := m.run(tt.first, append(slices.Clone(tt.steps), tt.failedStep)...)
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("got %v\nwant %s", err, tt.wantErr)
			}
			last := m.reports[len(m.reports)-1]
			if want := strings.TrimPrefix(tt.wantErr, "bootstrapping node: "); last.Message != want {
				t.Errorf("reported %q, want %q", last.Message, want)
			}
			m.wantAbsent(node.Done)

			m.kubeadm("")
			if err := m.run(tt.second, append(slices.Clone(tt.steps), "ready")...); err != nil {
				t.Fatal(err)
			}
			m.wantDone("2026-05-01T12:00:00Z " + tt.wantPhase + "\n")
		})
	}
}

// kubeadm init succeeded, what follows did not: it is not run again.
func TestContinueAfterInit(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.tool("kubectl", "echo connection refused >&2; exit 1")
	err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "failed init")
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 1: connection refused") {
		t.Errorf("got %v", err)
	}
	m.wantAbsent(node.Done)
	if _, err := os.Stat(m.path("/etc/kubernetes/super-admin.conf")); err != nil {
		t.Error("super-admin.conf went before the manifests were applied")
	}
	m.tool("kubectl", "echo applied")
	if err := m.run(applyCommand, "bootstrapping", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z init\n")
}

// A crash between shredding the credential and marking the node as done must
// not lead to a join without a credential.
func TestContinueAfterJoin(t *testing.T) {
	m := newMachine(t, node.Worker)
	if err := m.run(joinCommand, "bootstrapping", "bootstrapping wait", "bootstrapping join", "ready"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.path(node.Done)); err != nil {
		t.Fatal(err)
	}
	if err := m.run("", "bootstrapping", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z join\n")
	m.wantNothingUsedUp()
}

// While nobody can say whether there is a cluster, nothing is done.
func TestEtcdIsAskedUntilItAnswers(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.etcd.failures = 3
	if err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Fatal(err)
	}
	down := newMachine(t, node.ControlPlane)
	down.etcd.failures = 1 << 30
	err := down.run("", "bootstrapping", "failed")
	if want := "bootstrapping node: asking etcd which cluster it is: giving up after 500ms: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEtcdOfAnotherCluster(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.etcd.keys["/k8snode/cluster"] = "c0"
	err := m.run("", "bootstrapping", "failed")
	if want := "bootstrapping node: etcd is that of the cluster c0, and this node belongs to c1: install it again"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	m.wantAbsent("/etc/kubernetes/pki", node.Done)
}

func TestBrokenRecord(t *testing.T) {
	m := newMachine(t, node.Worker)
	m.write("/var/lib/k8snode/kubeadm.json", `{"action":"dance"}`, 0o600)
	err := m.run("")
	if want := `bootstrapping node: reading /var/lib/k8snode/kubeadm.json: action "dance" is unknown`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPKIWithALink(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	if err := os.Symlink("/etc/shadow", m.path(node.PKIDir+"/extra.crt")); err != nil {
		t.Fatal(err)
	}
	err := m.run("", "bootstrapping", "failed init")
	if want := "bootstrapping node: copying authorities: " + m.path(node.PKIDir) + "/extra.crt is not a regular file"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestClockBehindTheCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(time.Minute), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	const warning = `msg="the clock is behind the node's certificates" now=2026-05-01T12:00:00.000Z notBefore=2026-05-01T12:01:00.000Z`

	cp := newMachine(t, node.ControlPlane)
	cp.write(node.PKIDir+"/apiserver-etcd-client.crt", text, 0o644)
	if err := cp.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Error(err)
	}
	worker := newMachine(t, node.Worker)
	worker.write(node.Discovery, `{"users":[{"user":{"client-certificate-data":"`+base64.StdEncoding.EncodeToString([]byte(text))+`"}}]}`, 0o600)
	if err := worker.run(joinCommand, "bootstrapping", "bootstrapping wait", "bootstrapping join", "failed join"); err == nil { // the fake knows another credential
		t.Error("joined without the credential")
	}
	for _, m := range []*machine{cp, worker} {
		if !strings.Contains(m.log.String(), warning) {
			t.Errorf("the log lacks %s:\n%s", warning, &m.log)
		}
	}

	late := newMachine(t, node.Worker)
	late.opts.Now = func() time.Time { return now.Add(2 * time.Hour) }
	late.write(node.Discovery, worker.read(node.Discovery), 0o600)
	const ended = "the credential of this node ended at 2026-05-01T13:00:00Z, and it is 2026-05-01T14:00:00Z: deliver its config again (k8snode arm n1, or k8snode render)"
	if err := late.run("", "bootstrapping", "failed join"); err == nil || !strings.Contains(err.Error(), ended) {
		t.Errorf("got %v, want %s", err, ended)
	}

	later := newMachine(t, node.ControlPlane)
	later.opts.Now = func() time.Time { return now.Add(2 * time.Minute) }
	later.write(node.PKIDir+"/apiserver-etcd-client.crt", text, 0o644)
	if err := bootstrap.Run(context.Background(), later.opts); err != nil || strings.Contains(later.log.String(), "clock") {
		t.Errorf("%v, log:\n%s", err, &later.log)
	}
}
