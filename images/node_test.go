package images_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
)

// eachNode runs a test on every embedded recipe: all of them are of a node.
func eachNode(t *testing.T, test func(t *testing.T, l images.Loaded)) {
	t.Helper()
	for _, name := range images.Names() {
		t.Run(name, func(t *testing.T) {
			l, err := images.Load(name, images.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			test(t, l)
		})
	}
}

func TestNodePackages(t *testing.T) {
	wanted := []string{
		"systemd", "systemd-resolved", "chrony", "openssh-server", "dracut", "xfsprogs",
		"iproute2", "nftables", "ipvsadm", "conntrack", "ethtool",
		"keepalived", "haproxy", "ceph-common", "nfs-common", "docker.io", "docker-cli", "tini", "apparmor",
		"cryptsetup-bin", "dmsetup", "grub-common", "grub-pc-bin", "grub-efi-amd64-bin",
	}
	unwanted := map[string]string{
		"firewalld": "it would close the ports of the cluster", "ufw": "as firewalld",
		"zram-tools": "no swap", "systemd-zram-generator": "no swap", "swapspace": "no swap", "dphys-swapfile": "no swap",
		"ntp": "chrony keeps the time", "ntpsec": "chrony keeps the time", "systemd-timesyncd": "chrony keeps the time",
		"selinux-policy-default": "there is no policy, and the kernel starts AppArmor",
		"cloud-init":             "Ignition says who the machine is", "ssl-cert": "it makes a key",
		"rsyslog": "the journal is persistent", "ifupdown": "networkd has the network", "network-manager": "as ifupdown",
		"containerd": "the image has its own",
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		var names []string
		for _, p := range l.Recipe.Spec.Packages {
			name, _, _ := strings.Cut(p, "/")
			names = append(names, name)
			if why, ok := unwanted[name]; ok {
				t.Errorf("%s is in the image: %s", name, why)
			}
		}
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				t.Errorf("%s is missing", name)
			}
		}
		if kernel := l.Recipe.Spec.Kernel; kernel.Package != "linux-image-amd64" || kernel.Suite != "trixie-backports" {
			t.Errorf("the kernel is %s of %s", kernel.Package, kernel.Suite)
		}
		for _, argument := range l.Recipe.Spec.Kernel.Arguments {
			if strings.HasPrefix(argument, "systemd.unified_cgroup_hierarchy") || strings.HasPrefix(argument, "cgroup_no_v1") {
				t.Errorf("%s: cgroups have version 2 already", argument)
			}
		}
	})
}

func TestNodePrograms(t *testing.T) {
	want := []string{
		"/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/cri-dockerd", "/usr/bin/crictl", "/usr/bin/ctr",
		"/usr/bin/etcd", "/usr/bin/etcdctl", "/usr/bin/etcdutl",
		"/usr/bin/kubeadm", "/usr/bin/kubectl", "/usr/bin/kubelet",
		"/usr/lib/cni/bridge", "/usr/lib/cni/firewall", "/usr/lib/cni/host-local",
		"/usr/lib/cni/loopback", "/usr/lib/cni/portmap", "/usr/lib/cni/ptp",
		// Where Debian's package has it, so that there is one.
		"/usr/sbin/runc",
	}
	// What "kubeadm config images list" of this version prints, with the roles
	// that run them.
	wantContainers := map[string]string{
		"registry.k8s.io/kube-apiserver:v1.37.2":          images.RoleControlPlane,
		"registry.k8s.io/kube-controller-manager:v1.37.2": images.RoleControlPlane,
		"registry.k8s.io/kube-scheduler:v1.37.2":          images.RoleControlPlane,
		"registry.k8s.io/kube-proxy:v1.37.2":              images.RoleAll,
		"registry.k8s.io/coredns/coredns:v1.14.6":         images.RoleAll,
		pauseImage: images.RoleAll,
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		var got []string
		for _, m := range l.Recipe.Spec.Modules {
			for _, p := range m.Programs {
				got = append(got, p.Path)
			}
		}
		for _, d := range l.Recipe.Spec.Downloads {
			got = append(got, d.Path)
		}
		got = slices.DeleteFunc(got, func(p string) bool { return p == "" })
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("programs: -want +got:\n%s", diff)
		}
		containers := map[string]string{}
		for _, c := range l.Recipe.Spec.Containers {
			containers[c.Reference] = c.Role
		}
		if diff := cmp.Diff(wantContainers, containers); diff != "" {
			t.Errorf("containers: -want +got:\n%s", diff)
		}
	})
}

func TestNodeKernel(t *testing.T) {
	sysctls := map[string]string{
		// kubeadm refuses to run without the first three.
		"net.ipv4.ip_forward":                 "1",
		"net.ipv6.conf.all.forwarding":        "1",
		"net.ipv6.conf.default.forwarding":    "1",
		"net.bridge.bridge-nf-call-iptables":  "1",
		"net.bridge.bridge-nf-call-ip6tables": "1",
		"net.ipv4.conf.all.rp_filter":         "0",
		"net.ipv4.conf.default.rp_filter":     "0",
		"fs.inotify.max_user_instances":       "8192",
		"fs.inotify.max_user_watches":         "524288",
		// The kubelet insists on these (protectKernelDefaults).
		"kernel.panic":              "10",
		"kernel.panic_on_oops":      "1",
		"kernel.keys.root_maxkeys":  "1000000",
		"kernel.keys.root_maxbytes": "25000000",
		"vm.overcommit_memory":      "1",
		"vm.panic_on_oom":           "0",
	}
	// No ip_vs: kube-proxy does not need it in the modes that are offered.
	modules := []string{"bonding", "br_netfilter", "nf_conntrack", "overlay"}
	journald := map[string]string{
		"Storage": "persistent", "SystemMaxUse": "1G", "SystemMaxFileSize": "100M",
		"RateLimitIntervalSec": "30s", "RateLimitBurst": "10000",
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		spec := l.Recipe.Spec
		if diff := cmp.Diff(sysctls, spec.Sysctls); diff != "" {
			t.Errorf("sysctls: -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(modules, slices.Sorted(slices.Values(spec.KernelModules))); diff != "" {
			t.Errorf("modules: -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(journald, spec.Journald); diff != "" {
			t.Errorf("journald: -want +got:\n%s", diff)
		}
	})
}

// Every unit that starts by itself is here; the last preset disables the rest.
func TestNodeUnits(t *testing.T) {
	want := []string{
		"chrony.service", "containerd.service", "dbus-broker.service", "getty@.service", "sshd-keygen.service",
		"systemd-networkd-wait-online.service", "systemd-networkd.service", "systemd-resolved.service",
		"var-lib-containerd.mount", "var-lib-docker.mount",
	}
	// Identity arrives later, and enables what belongs to it.
	off := []string{
		"cri-docker.service", "cri-docker.socket", "docker.service", "etcd-guard.service", "etcd.service",
		"k8snode-bootstrap.service", "k8snode-import.service", "kubelet.service",
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		var enabled, disabled []string
		for _, u := range l.Recipe.Spec.Units {
			if path.Ext(u.Name) == ".swap" {
				t.Errorf("%s: the kubelet does not start with swap", u.Name)
			}
			if u.Enabled {
				enabled = append(enabled, u.Name)
			} else {
				disabled = append(disabled, u.Name)
			}
		}
		slices.Sort(enabled)
		if diff := cmp.Diff(want, enabled); diff != "" {
			t.Errorf("enabled: -want +got:\n%s", diff)
		}
		for _, name := range off {
			if !slices.Contains(disabled, name) {
				t.Errorf("%s is missing or enabled", name)
			}
		}
	})
}

// pauseImage is named by four files that must agree.
const pauseImage = "registry.k8s.io/pause:3.10.2"

func TestNodeContainerd(t *testing.T) {
	want := map[string]string{
		"version": "3",
		"root":    `"/var/lib/containerd"`,
		"state":   `"/run/containerd"`,
		"imports": `["/etc/containerd/conf.d/*.toml"]`,
		`plugins."io.containerd.cri.v1.images".snapshotter`:                 `"overlayfs"`,
		`plugins."io.containerd.cri.v1.images".image_pull_progress_timeout`: `"5m0s"`,
		`plugins."io.containerd.cri.v1.images".pinned_images.sandbox`:       `"` + pauseImage + `"`,
		// Mirrors or auths beside it would break the plugin.
		`plugins."io.containerd.cri.v1.images".registry.config_path`:                            `"/etc/containerd/certs.d"`,
		`plugins."io.containerd.cri.v1.runtime".enable_selinux`:                                 "false",
		`plugins."io.containerd.cri.v1.runtime".cni.bin_dirs`:                                   `["/opt/cni/bin", "/usr/lib/cni"]`,
		`plugins."io.containerd.cri.v1.runtime".cni.conf_dir`:                                   `"/etc/cni/net.d"`,
		`plugins."io.containerd.cri.v1.runtime".containerd.default_runtime_name`:                `"runc"`,
		`plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.runtime_type`:          `"io.containerd.runc.v2"`,
		`plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options.SystemdCgroup`: "true",
		`plugins."io.containerd.service.v1.diff-service".sync_fs`:                               "true",
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		got := map[string]string{}
		var table string
		for line := range strings.Lines(content(t, l, "/etc/containerd/config.toml")) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				table = strings.Trim(line, "[]") + "."
			} else if key, value, ok := strings.Cut(line, " = "); ok && line[0] != '#' {
				got[table+key] = value
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		i := slices.IndexFunc(l.Recipe.Spec.Files, func(f images.File) bool { return f.Path == "/etc/containerd/certs.d" })
		if i < 0 || !l.Recipe.Spec.Files[i].Directory {
			t.Error("there is no folder /etc/containerd/certs.d")
		}
	})
}

func TestNodeDocker(t *testing.T) {
	type daemon struct {
		StorageDriver string            `json:"storage-driver"`
		StorageOpts   []string          `json:"storage-opts"`
		Features      map[string]bool   `json:"features"`
		ExecOpts      []string          `json:"exec-opts"`
		LogDriver     string            `json:"log-driver"`
		LogOpts       map[string]string `json:"log-opts"`
		LiveRestore   *bool             `json:"live-restore"`
		Bridge        string            `json:"bridge"`
		IPTables      *bool             `json:"iptables"`
		IP6Tables     *bool             `json:"ip6tables"`
		IPForward     *bool             `json:"ip-forward"`
		IPMasq        *bool             `json:"ip-masq"`
	}
	no := false
	// overlay2.override_kernel_check and the like are gone since version 24,
	// which does not start with them.
	want := daemon{
		StorageDriver: "overlay2",
		StorageOpts:   []string{"overlay2.size=10G"},
		Features:      map[string]bool{"containerd-snapshotter": false},
		ExecOpts:      []string{"native.cgroupdriver=systemd"},
		LogDriver:     "json-file",
		LogOpts:       map[string]string{"max-size": "20m", "max-file": "10"},
		LiveRestore:   &no, Bridge: "none", IPTables: &no, IP6Tables: &no, IPForward: &no, IPMasq: &no,
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		decoder := json.NewDecoder(bytes.NewReader([]byte(content(t, l, "/etc/docker/daemon.json"))))
		decoder.DisallowUnknownFields()
		var got daemon
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if decoder.More() {
			t.Error("daemon.json has more than one document")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// The lines on which other parts rely.
func TestNodeUnitFiles(t *testing.T) {
	want := map[string][]string{
		"containerd.service": {"Type=notify", "Delegate=yes", "KillMode=process", "OOMScoreAdjust=-999", "RequiresMountsFor=/var/lib/containerd"},
		"docker.service": {
			"Type=notify", "Delegate=yes", "KillMode=process", "Requires=containerd.service docker.socket",
			"ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock", "RequiresMountsFor=/var/lib/docker",
		},
		"cri-docker.service":       {"Requires=docker.service cri-docker.socket", "Before=kubelet.service"},
		"cri-docker.socket":        {"ListenStream=/run/cri-dockerd.sock", "SocketGroup=docker"},
		"var-lib-containerd.mount": {"What=/var/lib/containers/containerd", "Where=/var/lib/containerd", "Options=bind", "WantedBy=local-fs.target"},
		"var-lib-docker.mount":     {"What=/var/lib/containers/docker", "Where=/var/lib/docker", "Options=bind", "WantedBy=local-fs.target"},
		"etcd.service":             {"RequiresMountsFor=/var/lib/etcd", "User=etcd"},
		"kubelet.service":          {"ConditionPathExists=/var/lib/kubelet/config.yaml"},
		"k8snode-import.service":   {"Before=kubelet.service k8snode-bootstrap.service"},
	}
	// Renamed, moved or without effect for years.
	unwanted := []string{"StartLimitInterval=", "BindTo=", "CPUShares=", "MemoryLimit=", "PermissionsStartOnly=", "LimitNOFILE=infinity", "--pod-manifest-path"}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		got := map[string]string{}
		for _, u := range l.Recipe.Spec.Units {
			if u.Source == "" {
				continue
			}
			data, err := fs.ReadFile(l.Sources, u.Source)
			if err != nil {
				t.Fatal(err)
			}
			got[u.Name] = string(data)
			for _, word := range unwanted {
				if strings.Contains(string(data), word) {
					t.Errorf("%s has %s", u.Name, word)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			lines := strings.Split(got[name], "\n")
			for _, line := range want[name] {
				if !slices.Contains(lines, line) {
					t.Errorf("%s has no line %s", name, line)
				}
			}
		}
		if !strings.Contains(got["cri-docker.service"], "--pod-infra-container-image="+pauseImage+" ") {
			t.Errorf("cri-docker.service has another pause image than %s", pauseImage)
		}
	})
}

// The lines of small files.
func TestNodeFiles(t *testing.T) {
	want := map[string][]string{
		"/etc/ssh/sshd_config.d/10-k8snode.conf": {"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin no"},
		"/etc/chrony/chrony.conf":                {"makestep 1.0 3", "rtcsync", "sourcedir /etc/chrony/sources.d"},
		// Ignition writes to this path when the cluster document has servers.
		"/etc/chrony/sources.d/k8snode.sources": {"pool 2.debian.pool.ntp.org iburst"},
		"/etc/selinux/config":                   {"SELINUX=disabled"},
		"/etc/crictl.yaml":                      {"runtime-endpoint: unix:///run/containerd/containerd.sock"},
		"/usr/lib/tmpfiles.d/k8snode.conf":      {"d /var/lib/kubelet/volumeplugins 0755 root root -", "d /var/opt/cni/bin 0755 root root -"},
	}
	eachNode(t, func(t *testing.T, l images.Loaded) {
		for _, file := range slices.Sorted(maps.Keys(want)) {
			lines := strings.Split(content(t, l, file), "\n")
			for _, line := range want[file] {
				if !slices.Contains(lines, line) {
					t.Errorf("%s has no line %q", file, line)
				}
			}
		}
	})
}

// The recipes that docs/image.md shows are recipes.
func TestNodeDocs(t *testing.T) {
	page := string(read(t, "../docs/image.md"))
	examples := fstest.MapFS{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n# ([a-z-]+\\.yaml)\n(.*?)```").FindAllStringSubmatch(page, -1) {
		examples[m[1]] = &fstest.MapFile{Data: []byte(m[2])}
	}
	if len(examples) != strings.Count(page, "```yaml") {
		t.Fatalf("%d of the examples have a name", len(examples))
	}
	for name := range examples {
		if _, err := images.Load("./"+name, images.LoadOptions{Open: open(examples)}); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

// content returns what the recipe puts at a path.
func content(t *testing.T, l images.Loaded, file string) string {
	t.Helper()
	for _, f := range l.Recipe.Spec.Files {
		if f.Path != file {
			continue
		}
		if f.Source == "" {
			return f.Contents
		}
		data, err := fs.ReadFile(l.Sources, f.Source)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	t.Fatalf("the recipe has no %s", file)
	return ""
}
