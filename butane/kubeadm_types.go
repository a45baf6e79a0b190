package butane

// The types hold the fields that are set, of
// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/ and
// of the kubelet's and kube-proxy's documents.

type initConfiguration struct {
	APIVersion       string           `yaml:"apiVersion"`
	Kind             string           `yaml:"kind"`
	BootstrapTokens  []bootstrapToken `yaml:"bootstrapTokens"`
	LocalAPIEndpoint apiEndpoint      `yaml:"localAPIEndpoint"`
	NodeRegistration nodeRegistration `yaml:"nodeRegistration"`
	Patches          *patches         `yaml:"patches,omitempty"`
	SkipPhases       []string         `yaml:"skipPhases,omitempty"`
	Timeouts         timeouts         `yaml:"timeouts"`
}

type bootstrapToken struct {
	TTL string `yaml:"ttl"`
}

type patches struct {
	Directory string `yaml:"directory"`
}

type joinConfiguration struct {
	APIVersion       string            `yaml:"apiVersion"`
	Kind             string            `yaml:"kind"`
	CACertPath       string            `yaml:"caCertPath"`
	ControlPlane     *joinControlPlane `yaml:"controlPlane,omitempty"`
	Discovery        discovery         `yaml:"discovery"`
	NodeRegistration nodeRegistration  `yaml:"nodeRegistration"`
	Patches          *patches          `yaml:"patches,omitempty"`
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
	Taints                *[]taint `yaml:"taints,omitempty"`
	IgnorePreflightErrors []string `yaml:"ignorePreflightErrors,omitempty"`
}

type taint struct {
	Key    string `yaml:"key"`
	Value  string `yaml:"value,omitempty"`
	Effect string `yaml:"effect"`
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
	ImageRepository           string     `yaml:"imageRepository"`
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
	CertSANs     []string        `yaml:"certSANs"`
	ExtraArgs    []arg           `yaml:"extraArgs,omitempty"`
	ExtraVolumes []hostPathMount `yaml:"extraVolumes,omitempty"`
}

type hostPathMount struct {
	Name      string `yaml:"name"`
	HostPath  string `yaml:"hostPath"`
	MountPath string `yaml:"mountPath"`
	ReadOnly  bool   `yaml:"readOnly,omitempty"`
	PathType  string `yaml:"pathType"`
}

type component struct {
	ExtraArgs []arg `yaml:"extraArgs,omitempty"`
}

type kubeletConfiguration struct {
	APIVersion                      string            `yaml:"apiVersion"`
	Kind                            string            `yaml:"kind"`
	CgroupDriver                    string            `yaml:"cgroupDriver"`
	ContainerLogMaxFiles            int               `yaml:"containerLogMaxFiles"`
	ContainerLogMaxSize             string            `yaml:"containerLogMaxSize"`
	EvictionHard                    map[string]string `yaml:"evictionHard,omitempty"`
	FeatureGates                    map[string]bool   `yaml:"featureGates,omitempty"`
	KubeReserved                    map[string]string `yaml:"kubeReserved,omitempty"`
	MaxParallelImagePulls           int               `yaml:"maxParallelImagePulls,omitempty"`
	MaxPods                         int               `yaml:"maxPods"`
	ProtectKernelDefaults           bool              `yaml:"protectKernelDefaults"`
	ResolvConf                      string            `yaml:"resolvConf"`
	SerializeImagePulls             *bool             `yaml:"serializeImagePulls,omitempty"`
	ShutdownGracePeriod             string            `yaml:"shutdownGracePeriod"`
	ShutdownGracePeriodCriticalPods string            `yaml:"shutdownGracePeriodCriticalPods"`
	SystemReserved                  map[string]string `yaml:"systemReserved,omitempty"`
	VolumePluginDir                 string            `yaml:"volumePluginDir"`
}

type kubeProxyConfiguration struct {
	APIVersion        string   `yaml:"apiVersion"`
	Kind              string   `yaml:"kind"`
	Mode              string   `yaml:"mode"`
	NodePortAddresses []string `yaml:"nodePortAddresses,omitempty"`
}

// encryptionConfiguration is that of
// https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/.
type encryptionConfiguration struct {
	APIVersion string               `yaml:"apiVersion"`
	Kind       string               `yaml:"kind"`
	Resources  []encryptedResources `yaml:"resources"`
}

type encryptedResources struct {
	Resources []string             `yaml:"resources"`
	Providers []encryptionProvider `yaml:"providers"`
}

type encryptionProvider struct {
	Secretbox *encryptionKeys `yaml:"secretbox,omitempty"`
	// Identity reads what was written before there was a key.
	Identity *struct{} `yaml:"identity,omitempty"`
}

type encryptionKeys struct {
	Keys []encryptionKey `yaml:"keys"`
}

type encryptionKey struct {
	Name   string `yaml:"name"`
	Secret string `yaml:"secret"`
}
