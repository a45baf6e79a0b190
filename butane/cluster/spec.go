package cluster

import "time"

// APIVersion and Kind identify a cluster document.
const (
	APIVersion = "k8snode.io/v1alpha1"
	Kind       = "Cluster"
)

// Cluster is a cluster document: the cluster, its network and its nodes.
type Cluster struct {
	// APIVersion is k8snode.io/v1alpha1.
	APIVersion string `yaml:"apiVersion"`
	// Kind is Cluster.
	Kind     string   `yaml:"kind"`
	Metadata Metadata `yaml:"metadata"`
	Spec     Spec     `yaml:"spec"`
}

// Metadata names a cluster.
type Metadata struct {
	// Name is an RFC 1123 label.
	Name string `yaml:"name"`
}

// Spec is the content of a Cluster.
type Spec struct {
	Kubernetes       Kubernetes       `yaml:"kubernetes"`
	Endpoint         Endpoint         `yaml:"endpoint"`
	HighAvailability HighAvailability `yaml:"highAvailability"`
	Etcd             Etcd             `yaml:"etcd"`
	Runtime          Runtime          `yaml:"runtime"`
	Network          Network          `yaml:"network"`
	Provision        Provision        `yaml:"provision"`
	System           System           `yaml:"system"`
	// SSHAuthorizedKeys log in as the user core. Without keys no SSH server
	// runs.
	SSHAuthorizedKeys []string `yaml:"sshAuthorizedKeys"`
	// Manifests are files, named relative to this document, that the control
	// plane applies once after kubeadm init: a pod network, for instance.
	Manifests []string `yaml:"manifests"`
	Nodes     []Node   `yaml:"nodes"`
}

// Kubernetes holds what kubeadm is told.
type Kubernetes struct {
	// Version has the form v1.37.2 and is that of the image.
	Version string `yaml:"version"`
	// ImageRepository is where the images of the control plane are from. What
	// the node image brings is named registry.k8s.io.
	ImageRepository string `yaml:"imageRepository"`
	// PodSubnet is the IPv4 prefix of pods.
	PodSubnet string `yaml:"podSubnet"`
	// ServiceSubnet is that of services.
	ServiceSubnet string `yaml:"serviceSubnet"`
	// DNSDomain is the domain of services.
	DNSDomain string `yaml:"dnsDomain"`
	// CertificateValidity is the life of leaf certificates, those of etcd and
	// those that kubeadm makes; 87600h is ten years. None outlives its
	// authority.
	CertificateValidity Duration          `yaml:"certificateValidity"`
	APIServer           APIServer         `yaml:"apiServer"`
	ControllerManager   ControllerManager `yaml:"controllerManager"`
	Scheduler           Scheduler         `yaml:"scheduler"`
	Kubelet             Kubelet           `yaml:"kubelet"`
	Proxy               Proxy             `yaml:"proxy"`
	// Patches change what kubeadm writes: the manifests of the control plane,
	// the kubelet's configuration, CoreDNS and kube-proxy.
	Patches []Patch `yaml:"patches"`
	// IgnorePreflightErrors are names of kubeadm's checks before init and join
	// that may fail: NumCPU on a control plane with one processor.
	IgnorePreflightErrors []string `yaml:"ignorePreflightErrors"`
}

// APIServer configures kube-apiserver.
type APIServer struct {
	// CertSANs are further names and addresses of its certificate; those of
	// the nodes and of the endpoint are in it already.
	CertSANs []string `yaml:"certSANs"`
	// ExtraArgs are flags without their hyphens. One of a name that kubeadm
	// sets as well replaces kubeadm's.
	ExtraArgs []Arg `yaml:"extraArgs"`
	// AuditPolicy is an audit.k8s.io/v1 Policy, as text. The log is
	// /var/log/kubernetes/audit.log, ten files of 100 MB.
	AuditPolicy string `yaml:"auditPolicy"`
	// EncryptSecrets keeps Secrets encrypted in etcd, with the key in the
	// secrets of the cluster (secretbox).
	EncryptSecrets bool `yaml:"encryptSecrets"`
}

// ControllerManager configures kube-controller-manager.
type ControllerManager struct {
	// ClusterSigningDuration is the life of certificates that the cluster
	// signs, those of kubelets among them.
	ClusterSigningDuration Duration `yaml:"clusterSigningDuration"`
	// ExtraArgs are as those of the API server.
	ExtraArgs []Arg `yaml:"extraArgs"`
}

// Scheduler configures kube-scheduler.
type Scheduler struct {
	// ExtraArgs are as those of the API server.
	ExtraArgs []Arg `yaml:"extraArgs"`
}

// Arg is a flag of a program.
type Arg struct {
	// Name has no hyphens in front.
	Name string `yaml:"name"`
	// Value is one line.
	Value string `yaml:"value"`
}

// Kubelet is the KubeletConfiguration of every node.
type Kubelet struct {
	// MaxPods must fit a node's pod prefix.
	MaxPods int `yaml:"maxPods"`
	// ContainerLogMaxSize is the size at which the log of a container is
	// rotated.
	ContainerLogMaxSize string `yaml:"containerLogMaxSize"`
	// ContainerLogMaxFiles is how many files of it there are.
	ContainerLogMaxFiles int `yaml:"containerLogMaxFiles"`
	// SystemReserved is kept from pods for the system: cpu, memory,
	// ephemeral-storage, pid.
	SystemReserved map[string]string `yaml:"systemReserved"`
	// KubeReserved is kept for the kubelet and the runtime.
	KubeReserved map[string]string `yaml:"kubeReserved"`
	// EvictionHard are the thresholds at which pods are evicted, for instance
	// memory.available: 200Mi.
	EvictionHard map[string]string `yaml:"evictionHard"`
	// MaxParallelImagePulls limits pulls at the same time.
	MaxParallelImagePulls int `yaml:"maxParallelImagePulls"`
	// ShutdownGracePeriod is how long a shutdown waits for pods.
	ShutdownGracePeriod Duration `yaml:"shutdownGracePeriod"`
	// ShutdownGracePeriodCriticalPods is the part of it that critical ones
	// have for themselves.
	ShutdownGracePeriodCriticalPods Duration `yaml:"shutdownGracePeriodCriticalPods"`
	// ExtraArgs are flags of the kubelet. Most of its settings are fields of
	// its configuration today: change those by a patch of the target
	// kubeletconfiguration.
	ExtraArgs []Arg `yaml:"extraArgs"`
}

// Proxy is the KubeProxyConfiguration.
type Proxy struct {
	// Mode is nftables, iptables, ipvs (deprecated, and gone in Kubernetes
	// 1.43), or none, which leaves kube-proxy out for networks that replace it.
	Mode string `yaml:"mode"`
	// NodePortAddresses are the prefixes on which NodePort services answer, or
	// one of the words primary, localhost and all.
	NodePortAddresses []string `yaml:"nodePortAddresses"`
}

// Patch changes a document that kubeadm writes.
type Patch struct {
	// Target is kube-apiserver, kube-controller-manager, kube-scheduler,
	// kubeletconfiguration, corednsdeployment or kubeproxydaemonset.
	Target string `yaml:"target"`
	// Type is strategic, merge or json.
	Type string `yaml:"type"`
	// Patch is the text of it, YAML or JSON.
	Patch string `yaml:"patch"`
}

// Endpoint is where clients reach the API servers.
type Endpoint struct {
	// Name is a DNS name, which every node resolves by its own /etc/hosts. It
	// is in every certificate and kubeconfig, and does not change.
	Name string `yaml:"name"`
	// VIP is a virtual address on the nodes' network, which keepalived moves
	// to a control plane that works. Empty means that there is none: a name
	// that leads to every control plane, or to a load balancer of your own.
	VIP string `yaml:"vip"`
	// Port is that of haproxy with a VIP, of the API servers without.
	Port int `yaml:"port"`
}

// HighAvailability is how the endpoint survives the loss of a control plane.
// The fields other than mode are for the mode keepalived.
type HighAvailability struct {
	// Mode is keepalived (with haproxy on every control plane) or none; by
	// default keepalived where the endpoint has a VIP.
	Mode string `yaml:"mode"`
	// Preemption is nopreempt (a VIP stays where it is while that works) or
	// preempt (it returns to the first control plane that works).
	Preemption string `yaml:"preemption"`
	// PreemptDelaySeconds is how long a control plane waits before it takes
	// a VIP back.
	PreemptDelaySeconds int `yaml:"preemptDelaySeconds"`
	// VirtualRouterID is that of the endpoint's VIP, 1 to 255, by default the
	// last byte of the VIP. No other VRRP in the same network may have it.
	VirtualRouterID int `yaml:"virtualRouterID"`
	// AdvertSeconds is the time between two advertisements.
	AdvertSeconds int `yaml:"advertSeconds"`
	// Instances are further virtual addresses. They move together with that
	// of the endpoint, as one sync group.
	Instances []VRRPInstance `yaml:"instances"`
	HAProxy   HAProxy        `yaml:"haproxy"`
}

// VRRPInstance is a virtual address of its own.
type VRRPInstance struct {
	// Name is an RFC 1123 label.
	Name string `yaml:"name"`
	// VIP is an address with its prefix length.
	VIP string `yaml:"vip"`
	// Interface is the name of a link that every control plane has.
	Interface string `yaml:"interface"`
	// VirtualRouterID is by default the last byte of the VIP.
	VirtualRouterID int `yaml:"virtualRouterID"`
}

// HAProxy tunes the proxy in front of the API servers.
type HAProxy struct {
	// MaxConnections is the limit of connections at the same time.
	MaxConnections int `yaml:"maxConnections"`
	// ConnectTimeout is how long an API server may take to answer.
	ConnectTimeout Duration `yaml:"connectTimeout"`
	// IdleTimeout ends connections without traffic, "kubectl logs -f" among
	// them.
	IdleTimeout Duration `yaml:"idleTimeout"`
	// StatsPort serves statistics on the node's own loopback; 0 is off.
	StatsPort int `yaml:"statsPort"`
}

// Duration is a time.Duration written as "8760h".
type Duration time.Duration
