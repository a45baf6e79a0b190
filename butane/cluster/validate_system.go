package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// webSocketsMinor is the version in which kubectl exec stopped working through
// cri-dockerd (Mirantis/cri-dockerd#560), unless a feature gate is off.
const webSocketsMinor = 36

func (c *checker) runtime(s Spec) {
	const path report.Path = "spec.runtime"
	r := s.Runtime
	c.oneOf(path.Field("name"), r.Name, Containerd, Docker)
	quota := path.Field("containerQuotaGiB")
	switch {
	case r.ContainerQuotaGiB < 0:
		c.add(quota, fmt.Sprintf("%d is not a size", r.ContainerQuotaGiB), "")
	case r.ContainerQuotaGiB > 0 && r.Name == Containerd:
		c.add(quota, "containerd has no quota for each container", "limit the ephemeral-storage of pods, or use docker")
	}
	if r.Name == Docker && minor(s.Kubernetes.Version) >= webSocketsMinor {
		c.warn(path.Field("name"), fmt.Sprintf("cri-dockerd breaks kubectl exec since Kubernetes 1.%d; the gate ExtendWebSocketsToKubelet is turned off for it", webSocketsMinor),
			"use containerd")
	}
	hosts := seen{}
	for i, reg := range r.Registries {
		at := path.Field("registries").Index(i)
		if c.registryHost(at.Field("host"), reg.Host) {
			c.unique(hosts, at.Field("host"), reg.Host)
		}
		for j, m := range reg.Mirrors {
			u, err := url.Parse(m)
			if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" {
				c.add(at.Field("mirrors").Index(j), fmt.Sprintf("%q is not the URL of a mirror", m), "write it as https://mirror.example:5000")
			}
		}
		if r.Name == Docker && len(reg.Mirrors) > 0 && reg.Host != "docker.io" {
			c.add(at.Field("mirrors"), "docker has mirrors for docker.io only", "use containerd, or name the mirror in image references")
		}
		if reg.CA != "" {
			if err := checkCA(reg.CA); err != nil {
				c.add(at.Field("ca"), err.Error(), "write the certificate as PEM")
			}
		}
		switch {
		case reg.Insecure && reg.CA != "":
			c.add(at.Field("insecure"), "nothing is checked with the ca then", "remove one of them")
		case reg.Insecure:
			c.warn(at.Field("insecure"), fmt.Sprintf("who answers for %s decides what this cluster runs", reg.Host), "give the registry a certificate, and its authority as ca")
		case len(reg.Mirrors) == 0 && reg.CA == "":
			c.add(at, "changes nothing", "set mirrors, ca or insecure")
		}
	}
}

func (c *checker) registryHost(path report.Path, value string) bool {
	host, port, hasPort := strings.Cut(value, ":")
	_, err := netip.ParseAddr(host)
	n, portErr := strconv.Atoi(port)
	if (err == nil || isDNSName(host)) && (!hasPort || portErr == nil && n > 0 && n < 65536) {
		return true
	}
	c.add(path, fmt.Sprintf("%q is not the name of a registry", value), "write it as in references: registry.example:5000")
	return false
}

func checkCA(text string) error {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return fmt.Errorf("is not one CERTIFICATE block")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("is not a certificate: %w", err)
	}
	return nil
}

var (
	sysctlPattern = regexp.MustCompile(`^[a-z][a-zA-Z0-9_./*:-]*$`)
	modulePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	// fixedSysctls are what Kubernetes cannot be without: kubeadm's preflight
	// checks, and what the kubelet insists on (setupKernelTunables).
	fixedSysctls = map[string]string{
		"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1",
		"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1",
		"kernel.keys.root_maxkeys": "1000000", "kernel.keys.root_maxbytes": "25000000",
	}
)

func (c *checker) system(s Spec) {
	const path report.Path = "spec.system"
	for _, key := range slices.Sorted(maps.Keys(s.System.Sysctls)) {
		at, value := path.Field("sysctls").Field(key), s.System.Sysctls[key]
		want, fixed := fixedSysctls[key]
		switch {
		case !sysctlPattern.MatchString(key):
			c.add(at, fmt.Sprintf("%q is not the name of a sysctl", key), "write it as net.core.somaxconn")
		case value == "" || strings.ContainsAny(value, "\n\r"):
			c.add(at, fmt.Sprintf("%q is not a value", value), "")
		case fixed && value != want:
			c.add(at, fmt.Sprintf("Kubernetes needs %s here", want), "remove it")
		}
	}
	for i, m := range s.System.KernelModules {
		at := path.Field("kernelModules").Index(i)
		switch name := strings.ReplaceAll(m, "-", "_"); {
		case name == "nf_conntrack_ipv4":
			c.add(at, "nf_conntrack_ipv4 is gone since Linux 4.19", "remove it: nf_conntrack is loaded")
		case !modulePattern.MatchString(m):
			c.add(at, fmt.Sprintf("%q is not the name of a module", m), "")
		case strings.HasPrefix(name, "ip_vs") && s.Kubernetes.Proxy.Mode != ProxyIPVS:
			c.warn(at, fmt.Sprintf("nothing uses %s: kube-proxy is in the mode %s", name, s.Kubernetes.Proxy.Mode), "remove it")
		}
	}
	c.units(path.Field("units"), s.System.Units)
	c.files(path.Field("files"), s.System.Files)
	c.mounts(path.Field("mounts"), s.System.Mounts)
	for i, m := range s.Manifests {
		at := report.Path("spec.manifests").Index(i)
		if m == "" || strings.HasPrefix(m, "-") || strings.Contains(m, "\x00") {
			c.add(at, fmt.Sprintf("%q is not the name of a file", m), "")
		}
	}
}

func (c *checker) roles(path report.Path, roles []Role) {
	for i, r := range roles {
		if r != ControlPlane && r != Worker {
			c.add(path.Field("roles").Index(i), fmt.Sprintf("unknown role %q", r), "use controlPlane or worker")
		}
	}
}

// keptFolders are not the operator's: kubeadm empties them or refuses what it
// finds, or k8snode fills them.
var keptFolders = map[string]string{
	"/etc/kubernetes/manifests": "kubeadm reset empties it",
	"/etc/kubernetes/pki":       "kubeadm reset empties it",
	"/etc/k8snode":              "k8snode fills it",
	"/etc/etcd":                 "k8snode fills it",
	"/var/lib/kubelet":          "kubeadm reset empties it",
	"/var/lib/etcd":             "it is etcd's data",
	"/run":                      "it is empty after a boot",
	"/tmp":                      "it is empty after a boot",
	"/proc":                     "it is no file system of files",
	"/sys":                      "use sysctls, or a unit",
}

func (c *checker) files(list report.Path, files []File) {
	for i, f := range files {
		at := list.Index(i)
		c.roles(at, f.Roles)
		if f.Mode > 0o7777 {
			c.add(at.Field("mode"), fmt.Sprintf("%o is not a file mode", f.Mode), "write it as 0644")
		}
		p := at.Field("path")
		if !strings.HasPrefix(f.Path, "/") || path.Clean(f.Path) != f.Path || f.Path == "/" {
			c.add(p, fmt.Sprintf("%q is not the path of a file", f.Path), "write it from / on, without .. and without / at the end")
			continue
		}
		for folder, why := range keptFolders {
			if strings.HasPrefix(f.Path+"/", folder+"/") {
				c.add(p, fmt.Sprintf("no file goes below %s: %s", folder, why), "")
			}
		}
		switch {
		case f.Path == "/etc/fstab":
			c.add(p, "a file system of the network in fstab stops the boot when it does not answer", "use spec.system.mounts")
		case f.Path == "/etc/machine-id":
			c.add(p, "two machines would have the same one", "remove it: each machine makes its own")
		case strings.HasPrefix(f.Path, "/usr/") || strings.HasPrefix(f.Path, "/bin/") || strings.HasPrefix(f.Path, "/boot/"):
			c.add(p, "the root of the image is read-only", "use /etc or /var, or bake it into the image")
		case strings.HasPrefix(f.Path, "/etc/systemd/journald.conf") && regexp.MustCompile(`(?m)^\s*RateLimitInterval\s*=`).MatchString(f.Contents):
			c.add(at.Field("contents"), "RateLimitInterval= is not read by journald any more", "write RateLimitIntervalSec=")
		}
		if strings.Contains(f.Contents, "PRIVATE KEY-----") {
			c.add(at.Field("contents"), "this is a private key, and this document is not encrypted", "")
		}
	}
}

// mountTypes are the kinds of network file systems.
var mountTypes = []string{"nfs", "ceph"}

func (c *checker) mounts(list report.Path, mounts []Mount) {
	paths := seen{}
	for i, m := range mounts {
		at := list.Index(i)
		c.roles(at, m.Roles)
		switch {
		case !strings.HasPrefix(m.Path, "/var/") || path.Clean(m.Path) != m.Path:
			remedy := "write a path below /var"
			if strings.HasPrefix(m.Path, "/") {
				remedy = "use /var" + path.Clean(m.Path)
			}
			c.add(at.Field("path"), fmt.Sprintf("%q is not on a file system that can be written", m.Path), remedy)
		case strings.HasPrefix(m.Path+"/", "/var/lib/"):
			c.add(at.Field("path"), fmt.Sprintf("%q is where programs keep their data", m.Path), "use another folder below /var")
		default:
			c.unique(paths, at.Field("path"), m.Path)
		}
		c.oneOf(at.Field("type"), m.Type, mountTypes...)
		if host, dir, ok := strings.Cut(m.Source, ":/"); !ok || host == "" || strings.ContainsAny(host+dir, " \t\n") {
			c.add(at.Field("source"), fmt.Sprintf("%q is not a file system of the network", m.Source), "write it as server:/path")
		}
		named := false
		for j, o := range m.Options {
			opt := at.Field("options").Index(j)
			key, _, _ := strings.Cut(o, "=")
			switch {
			case o == "" || strings.ContainsAny(o, ", \t\n"):
				c.add(opt, fmt.Sprintf("%q is not one option", o), "write each option as an element of the list")
			case key == "secret":
				c.add(opt, "a secret among the options is seen by everybody", "use secretfile=")
			}
			named = named || key == "name"
		}
		if m.Type == "ceph" && !named {
			c.add(at.Field("options"), "no user of ceph", "add name=USER, and secretfile=FILE")
		}
	}
}
