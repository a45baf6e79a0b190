package butane

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
)

// ipvsModules are those of kube-proxy's mode ipvs with its schedulers.
var ipvsModules = []string{"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_sh"}

type sysctlData struct{ Key, Value string }

// systemFiles add to what the image sets: theirs are read after the image's.
func systemFiles(n node) ([]File, error) {
	var files []File
	if values := n.spec.System.Sysctls; len(values) > 0 {
		var data []sysctlData
		for _, key := range slices.Sorted(maps.Keys(values)) {
			data = append(data, sysctlData{key, values[key]})
		}
		content, err := execute("sysctl.conf.tmpl", data)
		if err != nil {
			return nil, err
		}
		files = append(files, file("/etc/sysctl.d/95-cluster.conf", 0o644, content))
	}
	modules := slices.Clone(n.spec.System.KernelModules)
	if n.spec.Kubernetes.Proxy.Mode == cluster.ProxyIPVS {
		modules = append(modules, ipvsModules...)
	}
	if len(modules) > 0 {
		content, err := execute("modules.conf.tmpl", modules)
		if err != nil {
			return nil, err
		}
		files = append(files, file("/etc/modules-load.d/95-cluster.conf", 0o644, content))
	}
	for _, f := range n.spec.System.Files {
		if !n.has(f.Roles) {
			continue
		}
		mode := Mode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		files = append(files, file(f.Path, mode, f.Contents))
	}
	return files, nil
}

// manifestFiles are applied once, by the control plane that ran kubeadm init:
// any of them may be the one.
func manifestFiles(n node) ([]File, error) {
	if !n.controlPlane() {
		return nil, nil
	}
	var files []File
	for i, m := range n.Manifests {
		// kubectl applies a folder in the order of its names.
		files = append(files, file(fmt.Sprintf("%s/%03d.yaml", agentnode.ManifestsDir, i), 0o600, string(m)))
	}
	return files, nil
}

// has reports whether a list of roles names the node's; an empty one names all.
func (n node) has(roles []cluster.Role) bool {
	return len(roles) == 0 || slices.Contains(roles, n.Role)
}

type mountData struct {
	cluster.Mount
	Options string
}

// mountUnits mount file systems of the network. They are wanted, not required,
// by what comes after them, and not before local file systems: a server that
// does not answer costs a minute in the background, not the boot.
func mountUnits(n node) ([]Unit, error) {
	var units []Unit
	for _, m := range n.spec.System.Mounts {
		if !n.has(m.Roles) {
			continue
		}
		options := slices.Clone(m.Options)
		for _, always := range []string{"_netdev", "nofail", "noatime"} {
			if !slices.Contains(options, always) {
				options = append(options, always)
			}
		}
		content, err := execute("network.mount.tmpl", mountData{m, strings.Join(options, ",")})
		if err != nil {
			return nil, err
		}
		units = append(units, Unit{Name: mountUnitName(m.Path), Enabled: true, Contents: content})
	}
	return units, nil
}

// mountUnitName is the name that systemd wants for a mount point:
// systemd.unit(5), string escaping for inclusion in unit names.
func mountUnitName(path string) string {
	var b strings.Builder
	trimmed := strings.Trim(path, "/")
	for i := range len(trimmed) {
		switch c := trimmed[i]; {
		case c == '/':
			b.WriteByte('-')
		case c == '.' && i > 0, c == ':', c == '_', c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + ".mount"
}
