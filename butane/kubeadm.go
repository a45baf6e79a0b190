package butane

import (
	"fmt"
	"net"
	"strconv"
	"time"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
)

const (
	kubeadmAPI   = "kubeadm.k8s.io/v1beta4"
	kubeletAPI   = "kubelet.config.k8s.io/v1beta1"
	kubeProxyAPI = "kubeproxy.config.k8s.io/v1alpha1"

	apiServerPort = 6443
	kubePKIDir    = "/etc/kubernetes/pki"

	// shutdownGrace is what the kubelet asks logind to wait for; it edits
	// logind's configuration itself where that allows less.
	shutdownGrace         = 30 * time.Second
	shutdownGraceCritical = 10 * time.Second
)

// The types hold the fields that are set, of
// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/ and
// of the kubelet's and kube-proxy's documents.

type initConfiguration struct {
	APIVersion       string           `yaml:"apiVersion"`
	Kind             string           `yaml:"kind"`
	LocalAPIEndpoint apiEndpoint      `yaml:"localAPIEndpoint"`
	NodeRegistration nodeRegistration `yaml:"nodeRegistration"`
	Timeouts         timeouts         `yaml:"timeouts"`
}

type joinConfiguration struct {
	APIVersion       string            `yaml:"apiVersion"`
	Kind             string            `yaml:"kind"`
	CACertPath       string            `yaml:"caCertPath"`
	ControlPlane     *joinControlPlane `yaml:"controlPlane,omitempty"`
	Discovery        discovery         `yaml:"discovery"`
	NodeRegistration nodeRegistration  `yaml:"nodeRegistration"`
	Timeouts         timeouts          `yaml:"timeouts"`
}

type joinControlPlane struct {
	LocalAPIEndpoint apiEndpoint `yaml:"localAPIEndpoint"`
}

type discovery struct {
	File fileDiscovery `yaml:"file"`
}

type fileDiscovery struct {
	KubeConfigPath string `yaml:"kubeConfigPath"`
}

type apiEndpoint struct {
	AdvertiseAddress string `yaml:"advertiseAddress"`
	BindPort         int    `yaml:"bindPort"`
}

type nodeRegistration struct {
	Name             string `yaml:"name"`
	CRISocket        string `yaml:"criSocket"`
	ImagePullPolicy  string `yaml:"imagePullPolicy"`
	KubeletExtraArgs []arg  `yaml:"kubeletExtraArgs"`
	// Taints: nil leaves kubeadm's, empty removes them.
	Taints *[]struct{} `yaml:"taints,omitempty"`
}

type arg struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type timeouts struct {
	ControlPlaneComponentHealthCheck string `yaml:"controlPlaneComponentHealthCheck"`
	Discovery                        string `yaml:"discovery"`
	KubeletHealthCheck               string `yaml:"kubeletHealthCheck"`
	KubernetesAPICall                string `yaml:"kubernetesAPICall"`
	TLSBootstrap                     string `yaml:"tlsBootstrap"`
}

type clusterConfiguration struct {
	APIVersion                string     `yaml:"apiVersion"`
	Kind                      string     `yaml:"kind"`
	ClusterName               string     `yaml:"clusterName"`
	KubernetesVersion         string     `yaml:"kubernetesVersion"`
	ControlPlaneEndpoint      string     `yaml:"controlPlaneEndpoint"`
	CertificatesDir           string     `yaml:"certificatesDir"`
	EncryptionAlgorithm       string     `yaml:"encryptionAlgorithm"`
	CertificateValidityPeriod string     `yaml:"certificateValidityPeriod"`
	Networking                networking `yaml:"networking"`
	Etcd                      etcd       `yaml:"etcd"`
	APIServer                 apiServer  `yaml:"apiServer"`
	ControllerManager         component  `yaml:"controllerManager"`
	Scheduler                 component  `yaml:"scheduler"`
}

type networking struct {
	DNSDomain     string `yaml:"dnsDomain"`
	ServiceSubnet string `yaml:"serviceSubnet"`
	PodSubnet     string `yaml:"podSubnet"`
}

type etcd struct {
	External externalEtcd `yaml:"external"`
}

type externalEtcd struct {
	Endpoints []string `yaml:"endpoints"`
	CAFile    string   `yaml:"caFile"`
	CertFile  string   `yaml:"certFile"`
	KeyFile   string   `yaml:"keyFile"`
}

type apiServer struct {
	CertSANs []string `yaml:"certSANs"`
}

type component struct {
	ExtraArgs []arg `yaml:"extraArgs,omitempty"`
}

type kubeletConfiguration struct {
	APIVersion                      string `yaml:"apiVersion"`
	Kind                            string `yaml:"kind"`
	CgroupDriver                    string `yaml:"cgroupDriver"`
	ContainerLogMaxFiles            int    `yaml:"containerLogMaxFiles"`
	ContainerLogMaxSize             string `yaml:"containerLogMaxSize"`
	MaxPods                         int    `yaml:"maxPods"`
	ResolvConf                      string `yaml:"resolvConf"`
	ShutdownGracePeriod             string `yaml:"shutdownGracePeriod"`
	ShutdownGracePeriodCriticalPods string `yaml:"shutdownGracePeriodCriticalPods"`
	VolumePluginDir                 string `yaml:"volumePluginDir"`
}

type kubeProxyConfiguration struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Mode       string `yaml:"mode"`
}

// kubeadmFiles are the documents of init (control planes only) and join. A
// control plane has both: the agent finds out on the machine which it is.
func kubeadmFiles(n node) ([]File, error) {
	join, err := marshalYAML(joinDocument(n))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.JoinConfig, err)
	}
	logind, err := execute("logind.conf.tmpl", int(shutdownGrace/time.Second))
	if err != nil {
		return nil, err
	}
	files := []File{
		file(agentnode.JoinConfig, 0o600, string(join)),
		file("/etc/systemd/logind.conf.d/10-k8snode.conf", 0o644, logind),
	}
	if !n.controlPlane() {
		return files, nil
	}
	init, err := marshalYAML(initDocument(n), clusterDocument(n), kubeletDocument(n), kubeProxyDocument(n))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.InitConfig, err)
	}
	return append(files, file(agentnode.InitConfig, 0o600, string(init))), nil
}

func initDocument(n node) initConfiguration {
	return initConfiguration{
		APIVersion:       kubeadmAPI,
		Kind:             "InitConfiguration",
		LocalAPIEndpoint: localEndpoint(n),
		NodeRegistration: registration(n),
		Timeouts:         unattended(),
	}
}

func joinDocument(n node) joinConfiguration {
	d := joinConfiguration{
		APIVersion:       kubeadmAPI,
		Kind:             "JoinConfiguration",
		CACertPath:       kubePKIDir + "/ca.crt",
		Discovery:        discovery{fileDiscovery{agentnode.Discovery}},
		NodeRegistration: registration(n),
		Timeouts:         unattended(),
	}
	if n.controlPlane() {
		d.ControlPlane = &joinControlPlane{localEndpoint(n)}
	}
	return d
}

func clusterDocument(n node) clusterConfiguration {
	k := n.spec.Kubernetes
	d := clusterConfiguration{
		APIVersion:                kubeadmAPI,
		Kind:                      "ClusterConfiguration",
		ClusterName:               n.Cluster.Metadata.Name,
		KubernetesVersion:         k.Version,
		ControlPlaneEndpoint:      net.JoinHostPort(k.Endpoint, strconv.Itoa(apiServerPort)),
		CertificatesDir:           kubePKIDir,
		EncryptionAlgorithm:       "ECDSA-P256",
		CertificateValidityPeriod: time.Duration(k.CertificateValidity).String(),
		Networking:                networking{k.DNSDomain, k.ServiceSubnet, k.PodSubnet},
		Etcd: etcd{externalEtcd{
			CAFile:   kubePKIDir + "/etcd/ca.crt",
			CertFile: kubePKIDir + "/apiserver-etcd-client.crt",
			KeyFile:  kubePKIDir + "/apiserver-etcd-client.key",
		}},
		APIServer: apiServer{CertSANs: append([]string{k.Endpoint}, k.CertSANs...)},
	}
	for _, member := range n.Cluster.ControlPlanes() {
		d.Etcd.External.Endpoints = append(d.Etcd.External.Endpoints, clientURL(member))
	}
	// The bridge network takes its prefixes from the cluster document; other
	// ones, of the controller manager, would only mislead.
	if n.spec.Network.CNI == cluster.CNIBridge {
		d.ControllerManager.ExtraArgs = []arg{{"allocate-node-cidrs", "false"}}
	}
	// With nobody to take over, a short lease only makes a busy machine's
	// controllers stop and start again. It stays a lease: a second control
	// plane must never find two leaders.
	if len(n.Cluster.ControlPlanes()) == 1 {
		lease := []arg{
			{"leader-elect-lease-duration", "60s"}, {"leader-elect-renew-deadline", "45s"}, {"leader-elect-retry-period", "10s"},
		}
		d.ControllerManager.ExtraArgs = append(d.ControllerManager.ExtraArgs, lease...)
		d.Scheduler.ExtraArgs = lease
	}
	return d
}

func kubeletDocument(n node) kubeletConfiguration {
	return kubeletConfiguration{
		APIVersion:           kubeletAPI,
		Kind:                 "KubeletConfiguration",
		CgroupDriver:         "systemd",
		ContainerLogMaxFiles: 5,
		ContainerLogMaxSize:  "20Mi",
		MaxPods:              n.spec.Kubernetes.MaxPods,
		// kubeadm would write that of systemd-resolved for the whole cluster
		// if it ran on the first node.
		ResolvConf:                      "/etc/resolv.conf",
		ShutdownGracePeriod:             shutdownGrace.String(),
		ShutdownGracePeriodCriticalPods: shutdownGraceCritical.String(),
		// The default is below /usr, which is read-only.
		VolumePluginDir: "/var/lib/kubelet/volumeplugins",
	}
}

func kubeProxyDocument(n node) kubeProxyConfiguration {
	return kubeProxyConfiguration{APIVersion: kubeProxyAPI, Kind: "KubeProxyConfiguration", Mode: n.spec.Kubernetes.ProxyMode}
}

func localEndpoint(n node) apiEndpoint {
	return apiEndpoint{AdvertiseAddress: n.IP().String(), BindPort: apiServerPort}
}

func registration(n node) nodeRegistration {
	r := nodeRegistration{
		Name:            n.Name,
		CRISocket:       "unix:///run/containerd/containerd.sock",
		ImagePullPolicy: "IfNotPresent",
		// Without it the kubelet may take any address of the machine.
		KubeletExtraArgs: []arg{{"node-ip", n.IP().String()}},
	}
	// Without workers, CoreDNS and all else must run on control planes.
	if len(n.Cluster.ControlPlanes()) == len(n.spec.Nodes) {
		r.Taints = &[]struct{}{}
	}
	return r
}

// unattended returns timeouts for machines that nobody watches: slow disks,
// emulators, and control planes that boot after the workers.
func unattended() timeouts {
	return timeouts{
		ControlPlaneComponentHealthCheck: "15m0s",
		Discovery:                        "60m0s",
		KubeletHealthCheck:               "10m0s",
		KubernetesAPICall:                "5m0s",
		TLSBootstrap:                     "15m0s",
	}
}
