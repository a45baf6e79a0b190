package butane

import (
	"fmt"
	"path"
	"strings"

	"github.com/k8snode/k8snode/butane/cluster"
)

// Sockets of the runtimes, as the image's units have them.
const (
	containerdSocket = "unix:///run/containerd/containerd.sock"
	criDockerdSocket = "unix:///run/cri-dockerd.sock"
)

func (n node) docker() bool { return n.spec.Runtime.Name == cluster.Docker }

func criSocket(n node) string {
	if n.docker() {
		return criDockerdSocket
	}
	return containerdSocket
}

// daemonConfig is Docker's daemon.json:
// https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file.
type daemonConfig struct {
	StorageDriver      string            `json:"storage-driver"`
	StorageOptions     []string          `json:"storage-opts,omitempty"`
	Features           map[string]bool   `json:"features"`
	ExecOptions        []string          `json:"exec-opts"`
	LogDriver          string            `json:"log-driver"`
	LogOptions         map[string]string `json:"log-opts"`
	LiveRestore        bool              `json:"live-restore"`
	InsecureRegistries []string          `json:"insecure-registries,omitempty"`
	RegistryMirrors    []string          `json:"registry-mirrors,omitempty"`
	// CNI makes the network of pods. Docker's own bridge and rules would only
	// be in the way.
	Bridge       string `json:"bridge"`
	IPTables     bool   `json:"iptables"`
	IP6Tables    bool   `json:"ip6tables"`
	IPForward    bool   `json:"ip-forward"`
	IPMasquerade bool   `json:"ip-masq"`
}

// crictlConfig is that of crictl, sigs.k8s.io/cri-tools.
type crictlConfig struct {
	RuntimeEndpoint string `yaml:"runtime-endpoint"`
	ImageEndpoint   string `yaml:"image-endpoint"`
	Timeout         int    `yaml:"timeout"`
}

type hostsTOML struct {
	Server  string
	Mirrors []string
	// CA is the path of a certificate, empty for those of the system.
	CA       string
	Insecure bool
}

// runtimeFiles configure what differs from the image: containerd is configured
// there, but for its registries.
func runtimeFiles(n node) ([]File, error) {
	if n.docker() {
		return dockerFiles(n)
	}
	var files []File
	for _, r := range n.spec.Runtime.Registries {
		dir := path.Join("/etc/containerd/certs.d", registryFolder(r.Host))
		data := hostsTOML{Server: "https://" + registryServer(r.Host), Mirrors: r.Mirrors, Insecure: r.Insecure}
		if r.CA != "" {
			data.CA = path.Join(dir, "ca.crt")
			files = append(files, file(data.CA, 0o644, r.CA))
		}
		content, err := execute("hosts.toml.tmpl", data)
		if err != nil {
			return nil, err
		}
		files = append(files, file(path.Join(dir, "hosts.toml"), 0o644, content))
	}
	return files, nil
}

func dockerFiles(n node) ([]File, error) {
	config := daemonConfig{
		StorageDriver: "overlay2",
		// The quota is the graph driver's; the image store of containerd has
		// none.
		Features:    map[string]bool{"containerd-snapshotter": false},
		ExecOptions: []string{"native.cgroupdriver=systemd"},
		LogDriver:   "json-file",
		LogOptions: map[string]string{
			"max-size": strings.ToLower(strings.TrimSuffix(n.spec.Kubernetes.Kubelet.ContainerLogMaxSize, "i")),
			"max-file": fmt.Sprint(n.spec.Kubernetes.Kubelet.ContainerLogMaxFiles),
		},
		Bridge: "none",
	}
	if quota := n.spec.Runtime.ContainerQuotaGiB; quota > 0 {
		config.StorageOptions = []string{fmt.Sprintf("overlay2.size=%dG", quota)}
	}
	var files []File
	for _, r := range n.spec.Runtime.Registries {
		if r.Insecure {
			config.InsecureRegistries = append(config.InsecureRegistries, r.Host)
		}
		if r.Host == "docker.io" {
			config.RegistryMirrors = r.Mirrors
		}
		if r.CA != "" {
			files = append(files, file(path.Join("/etc/docker/certs.d", r.Host, "ca.crt"), 0o644, r.CA))
		}
	}
	daemon, err := marshalJSON(config)
	if err != nil {
		return nil, fmt.Errorf("writing /etc/docker/daemon.json: %w", err)
	}
	crictl, err := marshalYAML(crictlConfig{criDockerdSocket, criDockerdSocket, 10})
	if err != nil {
		return nil, fmt.Errorf("writing /etc/crictl.yaml: %w", err)
	}
	return append(files,
		file("/etc/docker/daemon.json", 0o644, daemon),
		file("/etc/crictl.yaml", 0o644, string(crictl)),
	), nil
}

// registryFolder is the name that containerd looks for: a colon is not allowed
// in it everywhere (containerd, docs/hosts.md).
func registryFolder(host string) string {
	if name, port, ok := strings.Cut(host, ":"); ok {
		return name + "_" + port + "_"
	}
	return host
}

// registryServer is where a registry of that name is: Docker's is elsewhere.
func registryServer(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
