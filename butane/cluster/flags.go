package cluster

// A refusal says why a flag is not to be written into a cluster, and what to
// write instead.
type refusal struct{ why, remedy string }

const (
	removed = "was removed from Kubernetes"
	managed = "is set by k8snode"
)

// What was removed, with the version that no longer has it (cmd/kubelet/app/
// options, cmd/kube-apiserver/app/options, cmd/kube-controller-manager/app/
// options and the changelogs), and what is another field of this document.
var (
	kubeletFlags = map[string]refusal{
		"allow-privileged":             {removed, "remove it: kubeadm allows privileged pods in the API server"},
		"pod-infra-container-image":    {removed, "remove it: the pause image is a setting of containerd, and part of the node image"},
		"image-pull-progress-deadline": {removed, "remove it: image_pull_progress_timeout of containerd is five minutes"},
		"network-plugin":               {removed, "remove it: CNI is the only kind"},
		"cni-bin-dir":                  {removed, "remove it: containerd finds the plugins"},
		"cni-conf-dir":                 {removed, "remove it: containerd reads /etc/cni/net.d"},
		"container-runtime":            {removed, "use spec.runtime.name"},
		"container-runtime-endpoint":   {managed, "use spec.runtime.name"},
		"docker-endpoint":              {removed, "use spec.runtime.name"},
		"pod-manifest-path":            {"is in the configuration that kubeadm writes", "remove it"},
		"rotate-certificates":          {"is in the configuration that kubeadm writes", "remove it: kubelets rotate their client certificates"},
		"cgroup-driver":                {"is in the configuration that kubeadm writes", "remove it: the driver is systemd"},
		"max-pods":                     {"is a field", "use spec.kubernetes.kubelet.maxPods"},
		"feature-gates":                {"is in the configuration of the kubelet", "use a patch of kubeletconfiguration"},
		"node-labels":                  {managed, "use the labels of the node"},
		"register-with-taints":         {managed, "use the taints of the node"},
		"node-ip":                      {managed, "it is the address of the node"},
		"hostname-override":            {managed, "it is the name of the node"},
		"config":                       {managed, "use a patch of kubeletconfiguration"},
		"kubeconfig":                   {managed, "remove it"},
		"bootstrap-kubeconfig":         {managed, "remove it"},
	}
	apiServerFlags = map[string]refusal{
		"advertise-address":                       {"differs from node to node, and this is for all of them", "remove it: it is the address of the node"},
		"bind-address":                            {"would be the same on every node", "remove it: the API server listens on all addresses, haproxy on a port of its own"},
		"secure-port":                             {managed, "remove it: it is 6443; clients use spec.endpoint.port"},
		"insecure-port":                           {removed, "remove it"},
		"insecure-bind-address":                   {removed, "remove it"},
		"admission-control":                       {removed, "use enable-admission-plugins"},
		"basic-auth-file":                         {removed, "remove it"},
		"kubelet-https":                           {removed, "remove it"},
		"allow-privileged":                        {"is set by kubeadm", "remove it"},
		"etcd-servers":                            {managed, "remove it: they are the control planes"},
		"etcd-cafile":                             {managed, "remove it"},
		"etcd-certfile":                           {managed, "remove it"},
		"etcd-keyfile":                            {managed, "remove it"},
		"experimental-bootstrap-kubeconfig":       {removed, "remove it"},
		"experimental-encryption-provider-config": {removed, "use encryptSecrets"},
	}
	controllerManagerFlags = map[string]refusal{
		"experimental-cluster-signing-duration": {removed, "use spec.kubernetes.controllerManager.clusterSigningDuration"},
		"cluster-signing-duration":              {"is a field", "use spec.kubernetes.controllerManager.clusterSigningDuration"},
		"pod-eviction-timeout":                  {removed, "use tolerationSeconds of pods"},
		"enable-taint-manager":                  {removed, "remove it"},
		"address":                               {removed, "remove it"},
		"port":                                  {removed, "remove it"},
	}
	schedulerFlags = map[string]refusal{
		"address":            {removed, "remove it"},
		"port":               {removed, "remove it"},
		"policy-config-file": {removed, "use a KubeSchedulerConfiguration"},
		"algorithm-provider": {removed, "use a KubeSchedulerConfiguration"},
	}
)
