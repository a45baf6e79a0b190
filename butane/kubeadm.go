package butane

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
)

const (
	kubeadmAPI   = "kubeadm.k8s.io/v1beta4"
	kubeletAPI   = "kubelet.config.k8s.io/v1beta1"
	kubeProxyAPI = "kubeproxy.config.k8s.io/v1alpha1"

	// patchesDir holds files named TARGET NUMBER +TYPE .yaml, without blanks.
	patchesDir = "/etc/k8snode/kubeadm/patches"
	// apiServerDir is mounted into the API server, read-only, at the same path.
	apiServerDir     = "/etc/k8snode/apiserver"
	auditPolicyFile  = apiServerDir + "/audit-policy.yaml"
	encryptionFile   = apiServerDir + "/encryption.yaml"
	auditLogDir      = "/var/log/kubernetes"
	controlPlaneMark = "node-role.kubernetes.io/control-plane"
)

// kubeadmFiles are the documents of init (control planes only) and join. A
// control plane has both: the agent finds out on the machine which it is.
func kubeadmFiles(n node) ([]File, error) {
	join, err := marshalYAML(joinDocument(n))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.JoinConfig, err)
	}
	// The kubelet asks logind to wait for this long; it edits logind's
	// configuration itself where that allows less.
	grace := time.Duration(n.spec.Kubernetes.Kubelet.ShutdownGracePeriod)
	logind, err := execute("logind.conf.tmpl", int(grace/time.Second))
	if err != nil {
		return nil, err
	}
	files := []File{
		file(agentnode.JoinConfig, 0o600, string(join)),
		file("/etc/systemd/logind.conf.d/10-k8snode.conf", 0o644, logind),
	}
	if proxied(n) {
		patch, err := execute("kubeproxydaemonset.yaml.tmpl", nil)
		if err != nil {
			return nil, err
		}
		// Before those of the document, which sort after it.
		files = append(files, file(path.Join(patchesDir, "kubeproxydaemonset+strategic.yaml"), 0o600, patch))
	}
	for i, p := range n.spec.Kubernetes.Patches {
		name := fmt.Sprintf("%s%d+%s.yaml", p.Target, i, p.Type)
		files = append(files, file(path.Join(patchesDir, name), 0o600, p.Patch))
	}
	if !n.controlPlane() {
		return files, nil
	}
	documents := []any{initDocument(n), clusterDocument(n), kubeletDocument(n)}
	if n.spec.Kubernetes.Proxy.Mode != cluster.ProxyNone {
		documents = append(documents, kubeProxyDocument(n))
	}
	init, err := marshalYAML(documents...)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.InitConfig, err)
	}
	return append(files, file(agentnode.InitConfig, 0o600, string(init))), nil
}

// apiServerFiles are what the API server reads besides its flags.
func apiServerFiles(n node) ([]File, error) {
	var files []File
	if !n.controlPlane() {
		return nil, nil
	}
	if policy := n.spec.Kubernetes.APIServer.AuditPolicy; policy != "" {
		files = append(files, file(auditPolicyFile, 0o600, policy))
	}
	if n.spec.Kubernetes.APIServer.EncryptSecrets {
		content, err := marshalYAML(encryptionConfiguration{
			APIVersion: "apiserver.config.k8s.io/v1",
			Kind:       "EncryptionConfiguration",
			Resources: []encryptedResources{{
				Resources: []string{"secrets"},
				Providers: []encryptionProvider{
					{Secretbox: &encryptionKeys{[]encryptionKey{{"key1", n.Bundle.EncryptionKey}}}},
					{Identity: &struct{}{}},
				},
			}},
		})
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", encryptionFile, err)
		}
		files = append(files, file(encryptionFile, 0o600, string(content)))
	}
	return files, nil
}

func initDocument(n node) initConfiguration {
	d := initConfiguration{
		APIVersion: kubeadmAPI,
		Kind:       "InitConfiguration",
		// kubeadm makes a token for others to join with, of 24 hours unless said
		// otherwise. Ours do not.
		BootstrapTokens:  []bootstrapToken{{TTL: "1m0s"}},
		LocalAPIEndpoint: localEndpoint(n),
		NodeRegistration: registration(n),
		Patches:          patchesOf(n),
		Timeouts:         unattended(),
	}
	if n.spec.Kubernetes.Proxy.Mode == cluster.ProxyNone {
		d.SkipPhases = []string{"addon/kube-proxy"}
	}
	return d
}

func joinDocument(n node) joinConfiguration {
	d := joinConfiguration{
		APIVersion:       kubeadmAPI,
		Kind:             "JoinConfiguration",
		CACertPath:       agentnode.KubePKIDir + "/ca.crt",
		Discovery:        discovery{fileDiscovery{agentnode.Discovery}},
		NodeRegistration: registration(n),
		Patches:          patchesOf(n),
		Timeouts:         unattended(),
	}
	if n.controlPlane() {
		d.ControlPlane = &joinControlPlane{localEndpoint(n)}
	}
	return d
}

// proxied reports whether kubeadm may apply kube-proxy from this node.
func proxied(n node) bool {
	return n.controlPlane() && n.spec.Kubernetes.Proxy.Mode != cluster.ProxyNone
}

func patchesOf(n node) *patches {
	if len(n.spec.Kubernetes.Patches) == 0 && !proxied(n) {
		return nil
	}
	return &patches{patchesDir}
}

func clusterDocument(n node) clusterConfiguration {
	k := n.spec.Kubernetes
	return clusterConfiguration{
		APIVersion:                kubeadmAPI,
		Kind:                      "ClusterConfiguration",
		ClusterName:               n.Cluster.Metadata.Name,
		KubernetesVersion:         k.Version,
		ImageRepository:           k.ImageRepository,
		ControlPlaneEndpoint:      net.JoinHostPort(n.spec.Endpoint.Name, strconv.Itoa(n.spec.Endpoint.Port)),
		CertificatesDir:           agentnode.KubePKIDir,
		EncryptionAlgorithm:       "ECDSA-P256",
		CertificateValidityPeriod: time.Duration(k.CertificateValidity).String(),
		Networking:                networking{k.DNSDomain, k.ServiceSubnet, k.PodSubnet},
		Etcd: etcd{externalEtcd{
			Endpoints: clientURLs(agentnode.Main, n.Cluster),
			CAFile:    agentnode.KubePKIDir + "/etcd/ca.crt",
			CertFile:  agentnode.KubePKIDir + "/apiserver-etcd-client.crt",
			KeyFile:   agentnode.KubePKIDir + "/apiserver-etcd-client.key",
		}},
		APIServer:         apiServerSection(n),
		ControllerManager: component{controllerManagerArgs(n)},
		Scheduler:         component{append(lease(n), args(k.Scheduler.ExtraArgs)...)},
	}
}

func apiServerSection(n node) apiServer {
	a := n.spec.Kubernetes.APIServer
	section := apiServer{CertSANs: []string{n.spec.Endpoint.Name}}
	if vip := n.spec.Endpoint.VIP; vip != "" {
		section.CertSANs = append(section.CertSANs, vip)
	}
	section.CertSANs = append(section.CertSANs, a.CertSANs...)
	if n.Cluster.Proxied() {
		section.ExtraArgs = []arg{
			// /readyz fails first; haproxy sends new connections elsewhere, and
			// only then the API server ends.
			{"shutdown-delay-duration", "20s"},
			// HTTP/2 clients keep one connection for days. One in a thousand
			// requests makes its client choose again.
			{"goaway-chance", "0.001"},
		}
	}
	if n.spec.Etcd.Events.Enabled {
		// Of the group of the core, so that it begins with a slash.
		events := "/events#" + strings.Join(clientURLs(agentnode.Events, n.Cluster), ";")
		section.ExtraArgs = append(section.ExtraArgs, arg{cluster.EtcdOverridesArg, events})
	}
	if a.AuditPolicy != "" {
		section.ExtraArgs = append(section.ExtraArgs,
			arg{"audit-policy-file", auditPolicyFile},
			arg{"audit-log-path", auditLogDir + "/audit.log"},
			arg{"audit-log-maxsize", "100"}, // MB
			arg{"audit-log-maxbackup", "10"},
		)
		section.ExtraVolumes = append(section.ExtraVolumes,
			hostPathMount{Name: "audit-log", HostPath: auditLogDir, MountPath: auditLogDir, PathType: "DirectoryOrCreate"})
	}
	if a.EncryptSecrets {
		section.ExtraArgs = append(section.ExtraArgs, arg{"encryption-provider-config", encryptionFile})
	}
	if a.AuditPolicy != "" || a.EncryptSecrets {
		section.ExtraVolumes = append(section.ExtraVolumes,
			hostPathMount{Name: "k8snode", HostPath: apiServerDir, MountPath: apiServerDir, ReadOnly: true, PathType: "Directory"})
	}
	section.ExtraArgs = append(section.ExtraArgs, args(a.ExtraArgs)...)
	return section
}

func controllerManagerArgs(n node) []arg {
	var all []arg
	// The bridge network takes its prefixes from the cluster document; other
	// ones, of the controller manager, would only mislead.
	if n.spec.Network.CNI == cluster.CNIBridge {
		all = append(all, arg{"allocate-node-cidrs", "false"})
	}
	all = append(all, lease(n)...)
	if d := n.spec.Kubernetes.ControllerManager.ClusterSigningDuration; d != 0 {
		all = append(all, arg{"cluster-signing-duration", d.String()})
	}
	return append(all, args(n.spec.Kubernetes.ControllerManager.ExtraArgs)...)
}

// lease is for one control plane alone. With nobody to take over, a short lease
// only makes a busy machine's controllers stop and start again. It stays a
// lease: a second control plane must never find two leaders.
func lease(n node) []arg {
	if len(n.Cluster.ControlPlanes()) != 1 {
		return nil
	}
	return []arg{
		{"leader-elect-lease-duration", "60s"}, {"leader-elect-renew-deadline", "45s"}, {"leader-elect-retry-period", "10s"},
	}
}

func args(from []cluster.Arg) []arg {
	var to []arg
	for _, a := range from {
		to = append(to, arg{a.Name, a.Value})
	}
	return to
}

func kubeletDocument(n node) kubeletConfiguration {
	k := n.spec.Kubernetes.Kubelet
	d := kubeletConfiguration{
		APIVersion:            kubeletAPI,
		Kind:                  "KubeletConfiguration",
		CgroupDriver:          "systemd",
		ContainerLogMaxFiles:  k.ContainerLogMaxFiles,
		ContainerLogMaxSize:   k.ContainerLogMaxSize,
		EvictionHard:          k.EvictionHard,
		KubeReserved:          k.KubeReserved,
		MaxParallelImagePulls: k.MaxParallelImagePulls,
		MaxPods:               k.MaxPods,
		// The image has the sysctls that the kubelet wants.
		ProtectKernelDefaults: true,
		// kubeadm would write that of systemd-resolved for the whole cluster
		// if it ran on the first node.
		ResolvConf:                      "/etc/resolv.conf",
		ShutdownGracePeriod:             k.ShutdownGracePeriod.String(),
		ShutdownGracePeriodCriticalPods: k.ShutdownGracePeriodCriticalPods.String(),
		SystemReserved:                  k.SystemReserved,
		// The default is below /usr, which is read-only.
		VolumePluginDir: "/var/lib/kubelet/volumeplugins",
	}
	if k.MaxParallelImagePulls > 1 {
		d.SerializeImagePulls = new(bool)
	}
	if n.docker() {
		// Without it, exec and attach fail: Mirantis/cri-dockerd#560.
		d.FeatureGates = map[string]bool{"ExtendWebSocketsToKubelet": false}
	}
	return d
}

func kubeProxyDocument(n node) kubeProxyConfiguration {
	p := n.spec.Kubernetes.Proxy
	return kubeProxyConfiguration{APIVersion: kubeProxyAPI, Kind: "KubeProxyConfiguration", Mode: p.Mode, NodePortAddresses: p.NodePortAddresses}
}

func localEndpoint(n node) apiEndpoint {
	return apiEndpoint{AdvertiseAddress: n.IP().String(), BindPort: cluster.APIServerPort}
}

// etcdCheck is kubeadm's question to every member of etcd for its version. One
// that is not there yet, or wiped, is no reason not to go on: the guard of this
// node's own member has waited for a quorum.
const etcdCheck = "ExternalEtcdVersion"

func ignored(n node) []string {
	names := slices.Clone(n.spec.Kubernetes.IgnorePreflightErrors)
	if n.controlPlane() && len(n.Cluster.ControlPlanes()) > 1 && !slices.Contains(names, etcdCheck) {
		names = append(names, etcdCheck)
	}
	return names
}

func registration(n node) nodeRegistration {
	r := nodeRegistration{
		Name:            n.Name,
		CRISocket:       criSocket(n),
		ImagePullPolicy: "IfNotPresent",
		// Without it the kubelet may take any address of the machine, that of
		// keepalived among them (kubernetes/kubernetes#54492).
		KubeletExtraArgs: []arg{{"node-ip", n.IP().String()}},
	}
	if len(n.Labels) > 0 {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			labels = append(labels, key+"="+n.Labels[key])
		}
		r.KubeletExtraArgs = append(r.KubeletExtraArgs, arg{"node-labels", strings.Join(labels, ",")})
	}
	r.KubeletExtraArgs = append(r.KubeletExtraArgs, args(n.spec.Kubernetes.Kubelet.ExtraArgs)...)
	r.IgnorePreflightErrors = ignored(n)
	// Without workers, CoreDNS and all else must run on control planes.
	alone := len(n.Cluster.ControlPlanes()) == len(n.spec.Nodes)
	if !alone && len(n.Taints) == 0 {
		return r
	}
	taints := []taint{}
	if n.controlPlane() && !alone {
		taints = append(taints, taint{Key: controlPlaneMark, Effect: "NoSchedule"})
	}
	for _, t := range n.Taints {
		taints = append(taints, taint(t))
	}
	r.Taints = &taints
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
