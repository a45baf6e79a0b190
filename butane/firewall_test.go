package butane_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFirewall loads the rules of a node in a network of its own, and connects to
// its server as pods do, and as the node does.
func TestFirewall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("there is no nft: scripts/host-packages.sh installs it")
	}
	n := newNetwork(t)
	rules := filepath.Join(t.TempDir(), "firewall.nft")
	file, ok := generate(t, newInput(t, routed(), "w1")).File("/etc/k8snode/firewall.nft")
	if !ok {
		t.Fatal("the node has no rules")
	}
	if err := os.WriteFile(rules, []byte(file.Contents.Inline), 0o600); err != nil {
		t.Fatal(err)
	}

	const server = "192.168.7.1"
	type attempt struct {
		who  string
		from place
		to   string
		want bool
	}
	agent := place{cgroup: "k8snode.slice/k8snode-renew.service"}
	attempts := []attempt{
		{"the agent", agent, server + ":8443", true},
		{"the agent, to artifacts", agent, server + ":8080", true},
		{"root at a shell", place{cgroup: "user.slice/session-1.scope"}, server + ":8443", true},
		{"somebody at a shell", place{cgroup: "user.slice/session-1.scope", uid: 1000}, server + ":8443", false},
		{"the agent's slice as another user", place{cgroup: "k8snode.slice/k8snode-renew.service", uid: 1000}, server + ":8443", false},
		{"the kubelet, which probes what a pod names", place{cgroup: "system.slice/kubelet.service"}, server + ":8443", false},
		{"a runtime, which pulls what a pod names", place{cgroup: "system.slice/containerd.service"}, server + ":8080", false},
		{"root in a pod on the host's network", place{cgroup: "kubepods.slice/kubepods-pod1.slice/c.scope"}, server + ":8443", false},
		{"a user in a pod on the host's network", place{cgroup: "kubepods.slice/kubepods-pod1.slice/c.scope", uid: 65535}, server + ":8080", false},
		{"a pod of a runtime without systemd", place{cgroup: "kubepods/pod1"}, server + ":8443", false},
		{"a pod", place{pod: true}, server + ":8443", false},
		{"a pod, to artifacts", place{pod: true}, server + ":8080", false},
		{"a pod, through a Service", place{pod: true}, "10.96.0.77:443", false},
		{"a pod on the host's network, through a Service", place{cgroup: "kubepods.slice/c.scope"}, "10.96.0.77:443", false},
		{"the agent, through a Service", agent, "10.96.0.77:443", true},
		{"a pod, to another port of the same machine", place{pod: true}, server + ":123", true},
		{"a pod, to another machine", place{pod: true}, "192.168.7.2:8443", true},
		{"the kubelet, to another machine", place{cgroup: "system.slice/kubelet.service"}, "192.168.7.2:8443", true},
	}

	// Without the rules everybody passes: what is tried below fails for no other
	// reason.
	for _, a := range attempts {
		if err := n.connect(a.from, a.to); err != nil {
			t.Fatalf("without rules, %s to %s: %v", a.who, a.to, err)
		}
	}
	for _, load := range []struct {
		name    string
		prepare string
	}{
		{"loaded", ""},
		{"loaded again", ""},
		// As kube-proxy and CNI plugins do it: what they accept, they accept in
		// their own chains.
		{"beside others", `
			table ip filter { chain FORWARD { type filter hook forward priority filter; accept; }; chain OUTPUT { type filter hook output priority filter; accept; }; }
			table ip raw { chain FORWARD { type filter hook forward priority raw; accept; }; chain OUTPUT { type filter hook output priority raw; accept; }; }
			table inet cni { chain forward { type filter hook forward priority -300; ct state new accept; }; }`},
		{"after others were flushed", "flush table ip filter\nflush table ip raw\nflush table inet cni\n"},
	} {
		if load.prepare != "" {
			n.nft(load.prepare)
		} else {
			n.in("nft --file " + rules)
		}
		// At once: most of them wait for an answer that does not come.
		errs := make([]error, len(attempts))
		var all sync.WaitGroup
		for i, a := range attempts {
			all.Go(func() { errs[i] = n.connect(a.from, a.to) })
		}
		all.Wait()
		for i, a := range attempts {
			if got := errs[i] == nil; got != a.want {
				t.Errorf("%s, %s to %s: %v, want it to pass: %t", load.name, a.who, a.to, errs[i], a.want)
			}
		}
	}
	listing := n.in("nft list table ip k8snode")
	if got := strings.Count(listing, "drop"); got != 4 {
		t.Errorf("loaded twice, the table has %d rules that drop, want 4:\n%s", got, listing)
	}
}

// A place is where a process runs: in a pod's network, or on the host in a
// cgroup.
type place struct {
	pod    bool
	cgroup string
	uid    int
}

// A network has a node between a pod and its server. Each is a network
// namespace, and exists while the test runs.
type network struct {
	t              *testing.T
	node, pod, srv string // paths of namespaces
	cgroups        string // of the hierarchy, as the host sees it
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t}
	n.cgroups = newCgroup(t)
	n.node, n.pod, n.srv = newNamespace(t), newNamespace(t), newNamespace(t)
	n.in(fmt.Sprintf(`
		ip link set lo up
		ip link add cni0 type veth peer name eth0 netns %[1]s
		ip link add lan0 type veth peer name lan0 netns %[2]s
		ip addr add 10.244.0.1/24 dev cni0 && ip link set cni0 up
		ip addr add 192.168.7.21/24 dev lan0 && ip link set lan0 up
		echo 1 >/proc/sys/net/ipv4/ip_forward`, n.pod, n.srv))
	inNamespace(t, n.pod, `
		ip link set lo up
		ip addr add 10.244.0.9/24 dev eth0 && ip link set eth0 up
		ip route add default via 10.244.0.1`)
	inNamespace(t, n.srv, `
		ip link set lo up
		ip addr add 192.168.7.1/24 dev lan0 && ip addr add 192.168.7.2/24 dev lan0 && ip link set lan0 up
		ip route add 10.244.0.0/24 via 192.168.7.21`)
	// kube-proxy's part, for a Service whose endpoint somebody has written by hand.
	n.nft(`table ip kube-proxy {
		chain pre { type nat hook prerouting priority dstnat; ip daddr 10.96.0.77 tcp dport 443 dnat to 192.168.7.1:8443; }
		chain out { type nat hook output priority -100; ip daddr 10.96.0.77 tcp dport 443 dnat to 192.168.7.1:8443; }
	}`)
	n.in("ip route add 10.96.0.0/12 dev lan0")
	for _, port := range []string{"8080", "8443", "123"} {
		listen(t, n.srv, "0.0.0.0:"+port)
	}
	return n
}

// in runs a script on the node; its cgroups are those of the test.
func (n *network) in(script string) string {
	n.t.Helper()
	return inNamespace(n.t, n.node, n.rooted(script))
}

func (n *network) nft(ruleset string) {
	n.t.Helper()
	n.in("nft --file /dev/stdin <<'END'\n" + ruleset + "\nEND")
}

// rooted is a script in whose world the test's cgroup is the root of the
// hierarchy, at its usual place.
func (n *network) rooted(script string) string {
	return "echo $$ >" + n.cgroups + "/cgroup.procs && exec unshare --mount --cgroup -- sh -e <<'ROOTED'\n" +
		"mount -t tmpfs tmpfs /sys/fs/cgroup\nmount -t cgroup2 none /sys/fs/cgroup\n" +
		// nft looks these up when it loads the rules.
		"mkdir -p /sys/fs/cgroup/k8snode.slice /sys/fs/cgroup/user.slice\n" + script + "\nROOTED"
}

// connect says why there was no connection.
func (n *network) connect(from place, to string) error {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	namespace, join := n.pod, ""
	if !from.pod {
		namespace = n.node
		folder := filepath.Join(n.cgroups, from.cgroup)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		join = "echo $$ >" + folder + "/cgroup.procs && "
	}
	// The shell's own connection; a packet that is dropped has no answer.
	script := fmt.Sprintf("%sexec setpriv --reuid %d --regid %d --clear-groups timeout 2 bash -c 'exec 3<>/dev/tcp/%s/%s'", join, from.uid, from.uid, host, port)
	return runIn(n.t.Context(), namespace, script)
}

func runIn(ctx context.Context, namespace, script string) error {
	out, err := exec.CommandContext(ctx, "nsenter", "--net="+namespace, "--", "sh", "-ec", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func inNamespace(t *testing.T, namespace, script string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nsenter", "--net="+namespace, "--", "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// newNamespace makes a network namespace that the test holds by a file.
func newNamespace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--net="+path, "--", "true").CombinedOutput(); err != nil {
		t.Fatalf("making a network namespace: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

// newCgroup makes a cgroup for all processes of the test.
func newCgroup(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cgroup")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "cgroup2", 0, ""); err != nil {
		t.Skipf("there are no cgroups of version 2: %v", err)
	}
	own := filepath.Join(dir, "k8snode-test-"+strconv.Itoa(os.Getpid()))
	t.Cleanup(func() {
		if out, err := exec.Command("find", own, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").CombinedOutput(); err != nil {
			t.Errorf("removing the test's cgroups: %v\n%s", err, out)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	return own
}

// listen accepts connections in a namespace until the test ends.
func listen(t *testing.T, namespace, address string) {
	t.Helper()
	type made struct {
		net.Listener
		err error
	}
	result := make(chan made)
	go func() {
		// The thread stays in that namespace, and ends with the goroutine.
		runtime.LockOSThread()
		l, err := func() (net.Listener, error) {
			f, err := os.Open(namespace)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			return net.Listen("tcp4", address)
		}()
		result <- made{l, err}
	}()
	l := <-result
	if l.err != nil {
		t.Fatal(l.err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.Close()
			}
		}
	}()
}

// TestFirewallUnits has the units that speak to the server in the slice that the
// rules let pass, and the rules before the first pod.
func TestFirewallUnits(t *testing.T) {
	for _, test := range []struct {
		node   string
		sliced []string
	}{
		{"cp1", []string{"k8snode-bootstrap.service", "k8snode-renew.service"}},
		{"w1", []string{"k8snode-bootstrap.service"}},
	} {
		d := generate(t, newInput(t, routed(), test.node))
		var sliced []string
		for _, u := range d.Systemd.Units {
			for _, dropin := range u.Dropins {
				if strings.Contains(dropin.Contents, "Slice=k8snode.slice\n") {
					sliced = append(sliced, u.Name)
				}
			}
			if u.Name != "k8snode-firewall.service" {
				continue
			}
			if !u.Enabled {
				t.Errorf("%s is off", u.Name)
			}
			for _, line := range []string{"Slice=k8snode.slice", "RequiredBy=kubelet.service", "Before=containerd.service docker.service kubelet.service k8snode-bootstrap.service"} {
				if !strings.Contains(u.Contents, line+"\n") {
					t.Errorf("%s lacks %s", u.Name, line)
				}
			}
		}
		if fmt.Sprint(sliced) != fmt.Sprint(test.sliced) {
			t.Errorf("%s: in the slice are %q, want %q", test.node, sliced, test.sliced)
		}
	}
	d := generate(t, newInput(t, isolated(), "cp1"))
	if _, ok := d.File("/etc/k8snode/firewall.nft"); ok {
		t.Error("a node without a server has rules about it")
	}
}
