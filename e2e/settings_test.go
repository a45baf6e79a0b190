package e2e_test

import (
	"bytes"
	"context"
	_ "embed" // for the document
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab/ha"
)

//go:embed testdata/settings.yaml
var settingsCluster []byte

// TestSettings has a node with settings that other clusters of the lab do not have,
// renews its certificates, and begins its etcd again with a snapshot.
func TestSettings(t *testing.T) {
	f := newFleetOf(t, ha.Options{
		Change:      func([]byte) []byte { return settingsCluster },
		EtcdDiskGiB: 8, ShareGiB: 1,
	})
	f.check(f.PowerOn(f.ctx, f.Nodes()...))
	f.whole()
	f.check(f.WriteObjects(f.ctx, objects))
	node := f.Nodes()[0]
	out := func(command string) string {
		t.Helper()
		out, err := f.Run(f.ctx, node, command)
		f.check(err)
		return out
	}

	// The disk of etcd, and events apart from all else.
	if got := out("findmnt -n -o SOURCE /var/lib/etcd"); got != "/dev/ubdb1" {
		t.Errorf("etcd's data is on %s, want /dev/ubdb1", got)
	}
	const etcdctl = "etcdctl --cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/healthcheck-client.crt --key /etc/etcd/pki/healthcheck-client.key "
	for endpoint, want := range map[string]bool{"https://10.77.0.11:2379": false, "https://10.77.0.11:2383": true} {
		keys := out(etcdctl + "--endpoints " + endpoint + " get --prefix --keys-only --limit 1 /registry/events/")
		if got := keys != ""; got != want {
			t.Errorf("events are in %s: %t, want %t", endpoint, got, want)
		}
	}
	if keys := out(etcdctl + "--endpoints https://10.77.0.11:2383 get --prefix --keys-only --limit 1 /registry/configmaps/"); keys != "" {
		t.Errorf("the etcd of events has %s", keys)
	}
	f.healthy()

	// Certificates of ten years, of kubeadm's and of etcd's.
	end := time.Now().AddDate(10, 0, -30)
	for _, file := range []string{
		"/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/apiserver-kubelet-client.crt", "/etc/kubernetes/pki/front-proxy-client.crt",
		"/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/etcd/pki/server.crt", "/etc/etcd/pki/peer.crt",
	} {
		text := strings.TrimPrefix(out("openssl x509 -noout -enddate -in "+file), "notAfter=")
		until, err := time.Parse("Jan _2 15:04:05 2006 MST", text)
		if err != nil || until.Before(end) {
			t.Errorf("%s ends %s (%v), want not before %s", file, text, err, end)
		}
	}

	// File systems of a network that is not there: no boot waits for them.
	if got := out("grep -c -E 'ceph|nfs' /etc/fstab 2>/dev/null || true"); got != "" && got != "0" {
		t.Errorf("/etc/fstab has %s file systems of the network", got)
	}
	for _, unit := range []string{"var-data-cephfs.mount", "var-data-nfs.mount"} {
		if got := out("systemctl show --property LoadState --property ActiveState --value " + unit); !strings.HasPrefix(got, "loaded\n") || strings.Contains(got, "\nactive") {
			t.Errorf("%s is %q, want it loaded, and not active", unit, got)
		}
	}
	f.check(f.Wait(f.ctx, "the end of the boot", func(ctx context.Context) (string, bool, error) {
		got, err := f.Run(ctx, node, "systemctl is-active multi-user.target || systemctl list-jobs --no-legend")
		return got, got == "active", err
	}))

	f.renews(node)
	f.shields(node)
	f.restores(node)
}

// shields has whoever runs on a machine connect to the server, which listens.
func (f *fleet) shields(node string) {
	f.t.Helper()
	p := f.Spec.Spec.Provision
	connect := fmt.Sprintf("curl --silent --output /dev/null --max-time 3 http://%s:%d/", p.Address, p.HTTPPort)
	_, err := f.Run(f.ctx, node, "systemctl is-active k8snode-firewall.service && mkdir -p /sys/fs/cgroup/kubepods.slice/shield.scope")
	f.check(err)
	for _, from := range []struct{ who, prefix, want string }{
		{"a shell", "", "0"},
		{"the agent", "systemd-run --quiet --wait --collect --slice k8snode.slice ", "0"},
		{"what the kubelet and runtimes do", "systemd-run --quiet --wait --collect --slice system.slice ", "28"},
		{"a pod", "nsenter --net=/run/netns/$(ls /run/netns | head -n 1) ", "28"},
		{"a pod on the host's network", "sh -c 'echo $$ >/sys/fs/cgroup/kubepods.slice/shield.scope/cgroup.procs && exec \"$@\"' sh ", "28"},
	} {
		got, err := f.Run(f.ctx, node, from.prefix+connect+"; echo $?")
		f.check(err)
		if got != from.want {
			f.t.Errorf("%s: curl ends with %s, want %s (0: it answered, 28: nobody did)", from.who, got, from.want)
		}
	}
	rules, err := f.Run(f.ctx, node, "nft list table ip k8snode")
	f.check(err)
	f.t.Logf("what was dropped:\n%s", rules)
}

// renews has a machine renew what it has, with the help of the server.
func (f *fleet) renews(node string) {
	f.t.Helper()
	f.check(f.Serve(f.ctx, node))
	const serials = "for c in /etc/etcd/pki/server.crt /etc/kubernetes/pki/apiserver-etcd-client.crt /etc/kubernetes/pki/apiserver.crt; do openssl x509 -noout -serial -in $c; done"
	before, err := f.Run(f.ctx, node, serials)
	f.check(err)
	said, err := f.Run(f.ctx, node, "k8snode-agent renew -all 2>/run/renew.log || { cat /run/renew.log >&2; exit 1; }; cat /run/renew.log")
	f.check(err)
	f.t.Logf("renewing:\n%s", said)
	after, err := f.Run(f.ctx, node, serials)
	f.check(err)
	for i, old := range strings.Fields(before) {
		if strings.Fields(after)[i] == old {
			f.t.Errorf("a certificate is the old one:\n%s\n%s", before, after)
		}
	}
	f.whole()
	f.check(f.CheckObjects(f.ctx, objects))
}

// restores takes all data from a cluster, but for a snapshot.
func (f *fleet) restores(node string) {
	f.t.Helper()
	_, err := f.Run(f.ctx, node, "systemctl start etcd-backup.service")
	f.check(err)
	snapshot, err := f.Run(f.ctx, node, "sync && ls /var/share/etcd/*.db")
	f.check(err)
	// What is written after the snapshot is lost.
	_, err = f.Kubectl.Run(f.ctx, nil, "create", "configmap", "too-late")
	f.check(err)
	f.check(f.Wipe(f.ctx, node))
	f.check(f.Rewrite(f.ctx, func(document []byte) []byte {
		return bytes.Replace(document, []byte("  etcd:\n"), []byte("  etcd:\n    generation: 2\n    restore: {member: "+node+", snapshot: "+snapshot+"}\n"), 1)
	}, "--new-cluster"))
	before := f.id
	f.id = 0
	f.check(f.PowerOn(f.ctx, node))
	f.whole()
	if f.id == before {
		f.t.Errorf("the restored etcd is the cluster %x, as before", before)
	}
	f.check(f.CheckObjects(f.ctx, objects))
	if _, err := f.Kubectl.Run(f.ctx, nil, "get", "configmap", "too-late"); err == nil || !strings.Contains(err.Error(), "NotFound") {
		f.t.Errorf("what was written after the snapshot is there: %v", err)
	}
	// The control plane writes again.
	f.check(f.Wait(f.ctx, "new objects", func(ctx context.Context) (string, bool, error) {
		if _, err := f.Kubectl.Run(ctx, nil, "create", "configmap", "after-the-restore"); err != nil {
			return err.Error(), false, nil
		}
		return "", true, nil
	}))
	out, err := f.Run(f.ctx, node, "journalctl -b -o cat -u etcd-guard")
	f.check(err)
	f.t.Logf("the guard says:\n%s", out)
}
