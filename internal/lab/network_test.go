package lab_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
)

// needLab skips a test that cannot run here, and says why.
func needLab(t *testing.T, files ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	for _, file := range append([]string{"/dev/net/tun"}, files...) {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("needs %s: run scripts/host-packages.sh test", file)
		}
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip: run scripts/host-packages.sh test")
	}
}

func newNetwork(t *testing.T) *lab.Network {
	t.Helper()
	return newNetworkIn(t, shortDir(t))
}

// shortDir is a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func namespaceExists(name string) bool {
	_, err := os.Stat(filepath.Join("/run/netns", name))
	return err == nil
}

func TestNetworkIsIsolated(t *testing.T) {
	needLab(t)
	n := newNetwork(t)
	other := newNetwork(t)

	var listener net.Listener
	err := n.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "10.77.0.1:8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()

	conn, err := n.Dial(t.Context(), "tcp", "10.77.0.1:8080")
	if err != nil {
		t.Fatalf("dialling inside: %v", err)
	}
	conn.Close()
	if _, err := other.Dial(t.Context(), "tcp", "10.77.0.1:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling the same address of another network: got %v, want %v", err, syscall.ECONNREFUSED)
	}
	if _, err := n.Dial(t.Context(), "tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("dialling outside: got %v, want %v", err, syscall.ENETUNREACH)
	}
	want := `dialling in network ` + n.Name() + `: "localhost" is not an IP address`
	if _, err := n.Dial(t.Context(), "tcp", "localhost:80"); errorText(err) != want {
		t.Errorf("dialling a name: got %v, want %q", err, want)
	}
}

func TestDoReturnsToTheHost(t *testing.T) {
	needLab(t)
	n := newNetwork(t)
	for range 20 {
		if err := n.Do(func() error {
			if _, err := net.InterfaceByName("br0"); err != nil {
				return err
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ifs, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range ifs {
			if addrs, _ := i.Addrs(); strings.Contains(strings.Join(addrText(addrs), " "), "10.77.0.1/24") {
				t.Fatalf("the bridge's address is visible outside, on %s", i.Name)
			}
		}
	}
	boom := errors.New("boom")
	if err := n.Do(func() error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got error %v, want that of the function", err)
	}
}

func addrText(addrs []net.Addr) (text []string) {
	for _, a := range addrs {
		text = append(text, a.String())
	}
	return text
}

func TestCommandRunsInside(t *testing.T) {
	needLab(t)
	n := newNetwork(t)
	tap, err := n.AddTap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Command(t.Context(), "ip", "-o", "link", "show", tap).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !bytes.Contains(out, []byte("master br0")) {
		t.Errorf("%s is not on the bridge: %s", tap, out)
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "show", "br0").CombinedOutput(); err == nil {
		t.Errorf("the bridge is on the host too: %s", out)
	}
}

func TestCloseStopsProcesses(t *testing.T) {
	needLab(t)
	n := newNetwork(t)
	dir := t.TempDir()
	// The first ends on SIGTERM; the second ignores it and leaves a child.
	polite, err := n.Start(t.Context(), lab.Program{Label: "polite", Path: "sleep", Args: []string{"600"}, Log: filepath.Join(dir, "polite.log")})
	if err != nil {
		t.Fatal(err)
	}
	stubborn, err := n.Start(t.Context(), lab.Program{
		Label: "stubborn",
		Path:  "sh",
		Args:  []string{"-c", `trap "" TERM; echo started; sleep 600 & while :; do sleep 1; done`},
		Log:   filepath.Join(dir, "stubborn.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second ignores SIGTERM", func() bool {
		log, err := os.ReadFile(filepath.Join(dir, "stubborn.log"))
		return err == nil && string(log) == "started\n"
	})
	for _, p := range []*lab.Process{polite, stubborn} {
		if ok, err := lab.IsRecorded(n, p.PID()); !ok || err != nil {
			t.Errorf("process %d is not recorded (%v)", p.PID(), err)
		}
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*lab.Process{polite, stubborn} {
		select {
		case <-p.Done():
		default:
			t.Errorf("process %d still runs", p.PID())
		}
	}
	if namespaceExists(n.Name()) {
		t.Errorf("namespace %s still exists", n.Name())
	}
	if _, err := os.Stat(n.StateDir()); !os.IsNotExist(err) {
		t.Errorf("state folder: got %v, want that it does not exist", err)
	}
	if _, err := n.Start(t.Context(), lab.Program{Label: "late", Path: "true", Log: filepath.Join(dir, "late.log")}); errorText(err) != "starting late: network "+n.Name()+" is closed" {
		t.Errorf("starting a process in a closed network: got %v", err)
	}
}

func TestKill(t *testing.T) {
	needLab(t)
	n := newNetwork(t)
	p, err := n.Start(t.Context(), lab.Program{Label: "sleep", Path: "sleep", Args: []string{"600"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("error of a running process: %v", err)
	}
	for range 2 {
		if err := p.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := errorText(p.Err()), "signal: killed"; got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	needLab(t)
	opts := lab.Options{StateDir: shortDir(t), Name: "k8snode-name-test"}
	n, err := lab.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	want := `claiming a network name: network "k8snode-name-test" exists: stop it first`
	if _, err := lab.New(t.Context(), opts); errorText(err) != want {
		t.Errorf("got error %v, want %q", err, want)
	}
	opts.Name = "../x"
	want = `network name "../x" must consist of lower-case letters, digits and inner hyphens`
	if _, err := lab.New(t.Context(), opts); errorText(err) != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// childDir makes this test binary the owner of a network, for the tests
// below: it is the folder of the network's state.
const childDir = "K8SNODE_LAB_TEST_OWNER"

// TestOwner is not a test of its own: it runs in a child process.
func TestOwner(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("runs in a child process of TestDeadOwner and TestKeep only")
	}
	n, err := lab.New(t.Context(), lab.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Start(t.Context(), lab.Program{Label: "sleep", Path: "sleep", Args: []string{"600"}, Log: filepath.Join(dir, "sleep.log")})
	if err != nil {
		t.Fatal(err)
	}
	report := n.Name() + "\n"
	if os.Getenv(childDir+"_KEEP") != "" {
		if err := n.Keep(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ready.new"), []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "ready.new"), filepath.Join(dir, "ready")); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(childDir+"_KEEP") == "" {
		<-p.Done() // Until this process is killed.
	}
}

// startOwner runs TestOwner in a child process and returns it, with the name
// of its network, once that runs.
func startOwner(t *testing.T, dir string, env ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwner$")
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var name []byte
	eventually(t, "the child's network runs", func() bool {
		var err error
		name, err = os.ReadFile(filepath.Join(dir, "ready"))
		return err == nil
	})
	return cmd, strings.TrimSpace(string(name))
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 300 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("never came true: %s", what)
}

func TestDeadOwner(t *testing.T) {
	needLab(t)
	dir := shortDir(t)
	cmd, name := startOwner(t, dir)
	if !namespaceExists(name) {
		t.Fatalf("namespace %s does not exist", name)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
	eventually(t, "the guard removes the network of a killed owner", func() bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return os.IsNotExist(err) && !namespaceExists(name)
	})
}

func TestStaleNetworkIsSwept(t *testing.T) {
	needLab(t)
	dir := shortDir(t)
	n, err := lab.New(t.Context(), lab.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	// What a dead owner without a guard leaves: its pid was given to another
	// process (this one), which began at another time.
	stale := filepath.Join(dir, "k8snode-lab-stale")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	bystander := exec.CommandContext(t.Context(), "sleep", "600")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"owner":     strconv.Itoa(os.Getpid()) + " 1\n",
		"processes": strconv.Itoa(bystander.Process.Pid) + " 1 recycled\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(stale, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", "k8snode-lab-stale").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	next, err := lab.New(t.Context(), lab.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if namespaceExists("k8snode-lab-stale") {
		t.Error("the stale namespace still exists")
	}
	if !namespaceExists(n.Name()) {
		t.Error("the network of a living owner was removed")
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process with a recycled pid was ended: %v", err)
	}
	if err := bystander.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = bystander.Wait() // It was killed.
	for _, n := range []*lab.Network{n, next} {
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestKeep(t *testing.T) {
	needLab(t)
	dir := shortDir(t)
	cmd, name := startOwner(t, dir, childDir+"_KEEP=1")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	n := newNetworkIn(t, dir) // Its sweep must leave the kept one alone.
	if !namespaceExists(name) {
		t.Fatalf("namespace %s of a kept network is gone", name)
	}
	stopped, err := lab.Stop(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(stopped) != 1 || stopped[0] != name {
		t.Errorf("stopped %q, want %q", stopped, name)
	}
	if namespaceExists(name) {
		t.Errorf("namespace %s still exists", name)
	}
	if !namespaceExists(n.Name()) {
		t.Error("a network that was not kept was stopped")
	}
}

func newNetworkIn(t *testing.T, dir string) *lab.Network {
	t.Helper()
	n, err := lab.New(t.Context(), lab.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}
