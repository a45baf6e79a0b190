package e2e_test

import (
	"bytes"
	"context"
	_ "embed" // for the document
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

	// What a machine needs once is gone.
	if got := out("find /run/ignition.json /run/k8snode/ignition /etc/k8snode/discovery.conf /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/super-admin.conf -maxdepth 0 2>/dev/null || true"); got != "" {
		t.Errorf("the machine has kept %s", got)
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

	// The token that kubeadm makes for others to join with: a minute, and what its
	// controller takes.
	f.check(f.Wait(f.ctx, "the end of kubeadm's token", func(ctx context.Context) (string, bool, error) {
		got, err := f.Kubectl.Run(ctx, nil, "get", "secrets", "-n", "kube-system", "--field-selector", "type=bootstrap.kubernetes.io/token", "-o", "name")
		return string(got), err == nil && len(got) == 0, err
	}))

	f.renews(node)
	f.restores(node)
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
