package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPrograms renders the configs of a cluster with every option, writes their
// files into the root of the image, and has the programs that read them say
// what they think: those of the image, in its root, without a network.
func TestPrograms(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	root := filepath.Join(t.TempDir(), "root")
	run(t, "unsquashfs", "-quiet", "-no-progress", "-dest", root, filepath.Join(*image, "pxe", "rootfs.squashfs"))

	common := [][]string{
		{"systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "kubelet.service", "k8snode-bootstrap.service", "containerd.service", "k8snode-firewall.service"},
		{"kubeadm", "config", "validate", "--config", "/etc/k8snode/kubeadm/join.yaml"},
		{"sshd", "-t"},
		{"visudo", "--check", "--strict"},
		{"chronyd", "-p"},
		{"containerd", "config", "dump"},
		{"nft", "--check", "--file", "/etc/k8snode/firewall.nft"},
		{"dockerd", "--validate", "--config-file", "/etc/docker/daemon.json"},
		// The modules are there, and the sysctls are read.
		{"sh", "-c", `for m in $(cat /etc/modules-load.d/95-cluster.conf); do modprobe --show-depends --set-version "$(ls /usr/lib/modules)" "$m" || exit 1; done`},
		{"sh", "-c", "! sysctl --dry-run --load /etc/sysctl.d/95-cluster.conf 2>&1 | grep ^sysctl:"},
	}
	controlPlane := [][]string{
		{"haproxy", "-c", "-V", "-f", "/etc/haproxy/haproxy.cfg"},
		{"keepalived", "--config-test", "--use-file", "/etc/keepalived/keepalived.conf"},
		{"kubeadm", "config", "validate", "--config", "/etc/k8snode/kubeadm/init.yaml"},
		{"systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "etcd.service", "etcd-events.service", "etcd-events-promote.service", "etcd-backup.service", "etcd-backup.timer", "haproxy.service", "keepalived.service"},
	}
	worker := [][]string{
		{"systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "tuning.service", "var-data-cephfs.mount"},
	}
	// The tests run in the folder of the module, or with "go test" in this one.
	const document = "butane/cluster/testdata/valid-ha.yaml"
	guide, err := os.ReadFile(document)
	if errors.Is(err, fs.ErrNotExist) {
		guide, err = os.ReadFile(filepath.Join("..", document))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range []struct {
		name  string
		edits []string // pairs
	}{
		{"containerd", []string{
			"name: docker\n    containerQuotaGiB: 10\n", "name: containerd\n",
			"preemption: preempt\n    preemptDelaySeconds: 60\n", "preemption: nopreempt\n",
		}},
		{"docker", nil},
	} {
		dir := t.TempDir()
		text := strings.NewReplacer(variant.edits...).Replace(string(guide))
		if len(variant.edits) > 0 && text == string(guide) {
			t.Fatal("the edits found nothing to edit")
		}
		write(t, filepath.Join(dir, "cluster.yaml"), text)
		write(t, filepath.Join(dir, "cni.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: cni}\n")
		write(t, filepath.Join(dir, "passphrase"), "correct horse\n")
		in := func(name string) string { return filepath.Join(dir, name) }
		run(t, *k8snode, "secrets", "init", "--out", in("secrets.age"), "--passphrase-file", in("passphrase"))
		run(t, *k8snode, "render", "cs1-k8s-m2", "cs1-k8s-w1", "--new-cluster", "--cluster", in("cluster.yaml"), "--secrets", in("secrets.age"),
			"--passphrase-file", in("passphrase"), "--image", *image, "--out", in("rendered"))
		// A control plane makes its discovery.conf when it joins; that of the worker
		// stands for it.
		for _, node := range []string{"cs1-k8s-w1", "cs1-k8s-m2"} {
			install(t, root, in(filepath.Join("rendered", node+".ign")))
			checks := worker
			if node == "cs1-k8s-m2" {
				checks = controlPlane
			}
			for _, check := range slices.Concat(checks, common) {
				t.Run(variant.name+"/"+node+"/"+check[0], func(t *testing.T) {
					out, err := inRoot(t, root, check...)
					if err != nil {
						t.Errorf("%s: %v\n%s", strings.Join(check, " "), err, out)
					}
					if silent(check[0]) && out != "" {
						t.Errorf("%s:\n%s", strings.Join(check, " "), out)
					}
				})
			}
		}
	}

	// A check that finds nothing wrong with anything is none.
	t.Run("wrong", func(t *testing.T) {
		for file, check := range map[string][]string{
			"/etc/haproxy/haproxy.cfg":               controlPlane[0],
			"/etc/keepalived/keepalived.conf":        controlPlane[1],
			"/etc/k8snode/kubeadm/init.yaml":         controlPlane[2],
			"/etc/systemd/system/tuning.service":     worker[0],
			"/etc/k8snode/kubeadm/join.yaml":         common[1],
			"/etc/ssh/sshd_config.d/10-k8snode.conf": common[2],
			"/etc/sudoers.d/k8snode":                 common[3],
			"/etc/chrony/chrony.conf":                common[4],
			"/etc/containerd/config.toml":            common[5],
			"/etc/k8snode/firewall.nft":              common[6],
			"/etc/docker/daemon.json":                common[7],
			"/etc/modules-load.d/95-cluster.conf":    common[8],
			"/etc/sysctl.d/95-cluster.conf":          common[9],
		} {
			path := filepath.Join(root, file)
			good := read(t, path)
			write(t, path, "nonsense {\n"+good)
			if out, err := inRoot(t, root, check...); err == nil && (!silent(check[0]) || out == "") {
				t.Errorf("%s takes a spoiled %s:\n%s", check[0], file, out)
			}
			write(t, path, good)
		}
	})
}

// silent programs report some mistakes and are content; what is right, they
// pass without a word.
func silent(program string) bool { return program == "keepalived" || program == "systemd-analyze" }

// install writes the files of an Ignition config below a root, as Ignition
// does.
func install(t *testing.T, root, config string) {
	t.Helper()
	var c struct {
		Storage struct {
			Files []struct {
				Path        string
				Mode        fs.FileMode
				User, Group struct{ ID int }
				Contents    struct{ Source, Compression string }
			}
		}
		Systemd struct {
			Units []struct {
				Name, Contents string
				Dropins        []struct{ Name, Contents string }
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, config)), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Storage.Files) == 0 {
		t.Fatalf("%s has no files", config)
	}
	for _, f := range c.Storage.Files {
		path := filepath.Join(root, f.Path)
		write(t, path, content(t, f.Contents.Source, f.Contents.Compression))
		if err := os.Chown(path, f.User.ID, f.Group.ID); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range c.Systemd.Units {
		if u.Contents != "" {
			write(t, filepath.Join(root, "etc/systemd/system", u.Name), u.Contents)
		}
		for _, d := range u.Dropins {
			write(t, filepath.Join(root, "etc/systemd/system", u.Name+".d", d.Name), d.Contents)
		}
	}
}

// content reads a data URL, RFC 2397.
func content(t *testing.T, source, compression string) string {
	t.Helper()
	header, data, ok := strings.Cut(source, ",")
	if source == "" {
		return ""
	}
	if !ok || !strings.HasPrefix(header, "data:") {
		t.Fatalf("%.40s is no data URL", source)
	}
	decoded, err := url.PathUnescape(data)
	if err == nil && strings.HasSuffix(header, ";base64") {
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(decoded)
		decoded = string(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	if compression != "gzip" {
		return decoded
	}
	r, err := gzip.NewReader(strings.NewReader(decoded))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// inRoot runs a program of the root, in namespaces of its own: its mounts end
// with it, and it reaches no network.
func inRoot(t *testing.T, root string, command ...string) (string, error) {
	t.Helper()
	const script = `
		mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/tmp" || exit 99
		mkdir -p "$1/run/sshd"
		# Cgroups that systemd has made by the time that nft looks them up.
		mount -t tmpfs tmpfs "$1/sys" && mkdir -p "$1/sys/fs/cgroup/k8snode.slice" "$1/sys/fs/cgroup/user.slice" || exit 99
		root=$1; shift
		# keepalived and haproxy want the interfaces to be there.
		for name in lo bond2 storage; do
			[ "$name" = lo ] || ip link add "$name" type bridge || exit 99
			ip link set "$name" up || exit 99
		done
		[ -e "$root/etc/ssh/ssh_host_ed25519_key" ] || chroot "$root" ssh-keygen -A >/dev/null || exit 99
		exec chroot "$root" "$@"`
	args := append([]string{"--mount", "--net", "--pid", "--fork", "--", "sh", "-c", script, "sh", root}, command...)
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("running %s: %w:\n%s", name, err, bytes.TrimSpace(out)))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// A link is replaced, not followed.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
