package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/report"
)

var versionPattern = regexp.MustCompile(`^v1\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)

// Minor versions of Kubernetes at which something begins or ends.
const (
	// minMinor is the first whose kubeadm reads v1beta4, with the life of
	// certificates in it.
	minMinor = 31
	// KubeProxyIPVS: deprecated, off by default, removed
	// (pkg/features/kube_features.go of v1.37.2).
	ipvsDeprecated, ipvsOff, ipvsRemoved = 35, 40, 43
)

// minor returns the second number of a valid version.
func minor(version string) int {
	n, err := strconv.Atoi(strings.Split(version+"..", ".")[1])
	if err != nil {
		return 0
	}
	return n
}

func (c *checker) kubernetes(k Kubernetes) {
	const path report.Path = "spec.kubernetes"
	at := path.Field("version")
	switch {
	case k.Version == "":
		c.add(at, "missing", "write the version of the image, for instance v1.37.2")
	case !versionPattern.MatchString(k.Version):
		c.add(at, fmt.Sprintf("%q is not a Kubernetes release", k.Version), "write it as v1.37.2")
	case minor(k.Version) < minMinor:
		c.add(at, fmt.Sprintf("the kubeadm of %s does not read kubeadm.k8s.io/v1beta4", k.Version), fmt.Sprintf("use v1.%d or newer", minMinor))
	}
	if !imageRepositoryPattern.MatchString(k.ImageRepository) {
		c.add(path.Field("imageRepository"), fmt.Sprintf("%q is not the name of a repository", k.ImageRepository), "write it as registry.example:5000/k8s")
	}
	if !isDNSName(k.DNSDomain) {
		c.add(path.Field("dnsDomain"), fmt.Sprintf("%q is not a DNS name", k.DNSDomain), "")
	}
	c.certificateValidity(path.Field("certificateValidity"), k.CertificateValidity)
	c.apiServer(path.Field("apiServer"), k.APIServer)
	c.controllerManager(path.Field("controllerManager"), k.ControllerManager)
	c.args(path.Field("scheduler").Field("extraArgs"), k.Scheduler.ExtraArgs, schedulerFlags)
	c.kubelet(path.Field("kubelet"), k.Kubelet)
	c.proxy(path.Field("proxy"), k)
	for i, p := range k.Patches {
		c.patch(path.Field("patches").Index(i), p)
	}
	for i, name := range k.IgnorePreflightErrors {
		if !preflightPattern.MatchString(name) || strings.EqualFold(name, "all") {
			c.add(path.Field("ignorePreflightErrors").Index(i), fmt.Sprintf("%q is not the name of one check", name),
				"write the name that kubeadm shows in brackets: [ERROR NumCPU]")
		}
	}
}

var preflightPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

var imageRepositoryPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

func (c *checker) certificateValidity(path report.Path, validity Duration) {
	switch d := time.Duration(validity); {
	case d <= 24*time.Hour:
		c.add(path, fmt.Sprintf("%s is too short to renew in time", validity), "use more than 24h")
	case d > time.Duration(DefaultCertificateValidity):
		c.warn(path, fmt.Sprintf("%s is longer than the year that kubeadm recommends: nothing revokes a certificate that leaks", validity),
			"leave it so if nobody will renew them")
	}
}

func (c *checker) apiServer(path report.Path, a APIServer) {
	names := seen{}
	for i, san := range a.CertSANs {
		at := path.Field("certSANs").Index(i)
		// An API server may have a wildcard name in front of it.
		_, err := netip.ParseAddr(san)
		if err != nil && !isDNSName(strings.TrimPrefix(san, "*.")) {
			remedy := ""
			if strings.Contains(san, "_") {
				remedy = "an underscore is not allowed in a host name, write a hyphen"
			}
			c.add(at, fmt.Sprintf("%q is neither a DNS name nor an IP address", san), remedy)
			continue
		}
		c.unique(names, at, san)
	}
	args := path.Field("extraArgs")
	c.args(args, a.ExtraArgs, apiServerFlags)
	if a.EncryptSecrets {
		c.owned(args, a.ExtraArgs, "encryption-provider-config", "encryptSecrets")
	}
	if a.AuditPolicy != "" {
		c.owned(args, a.ExtraArgs, "audit-policy-file", "auditPolicy")
		c.object(path.Field("auditPolicy"), a.AuditPolicy, "audit.k8s.io/v1", "Policy")
	}
}

// owned refuses a flag that a field sets as well.
func (c *checker) owned(path report.Path, args []Arg, name, field string) {
	for i, a := range args {
		if a.Name == name {
			c.add(path.Index(i), fmt.Sprintf("%s sets --%s already", field, name), "remove one of them")
		}
	}
}

func (c *checker) controllerManager(path report.Path, m ControllerManager) {
	if d := time.Duration(m.ClusterSigningDuration); d != 0 && d < 10*time.Minute {
		c.add(path.Field("clusterSigningDuration"), fmt.Sprintf("%s is too short", m.ClusterSigningDuration), "use 10m or more; 8760h is the default")
	}
	c.args(path.Field("extraArgs"), m.ExtraArgs, controllerManagerFlags)
}

var flagPattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// args checks flags of a program, those that are gone or not the operator's
// among them.
func (c *checker) args(path report.Path, args []Arg, refused map[string]refusal) {
	for i, a := range args {
		at := path.Index(i).Field("name")
		bare := strings.TrimLeft(a.Name, "-")
		r, gone := refused[bare]
		switch {
		case a.Name == "":
			c.add(at, "missing", "")
		case gone:
			c.add(at, "--"+bare+" "+r.why, r.remedy)
		case bare != a.Name:
			c.add(at, fmt.Sprintf("%q has hyphens in front", a.Name), "write "+bare)
		case !flagPattern.MatchString(a.Name):
			c.add(at, fmt.Sprintf("%q is not the name of a flag", a.Name), "")
		}
		if strings.ContainsAny(a.Value, "\n\r\x00") {
			c.add(path.Index(i).Field("value"), "has more than one line", "")
		}
	}
}

var (
	quantityPattern  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)
	thresholdPattern = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?|[0-9]{1,2}(\.[0-9]+)?%)$`)
	resources        = []string{"cpu", "memory", "ephemeral-storage", "pid"}
	// evictionSignals are those of pkg/kubelet/eviction on Linux.
	evictionSignals = []string{
		"memory.available", "nodefs.available", "nodefs.inodesFree",
		"imagefs.available", "imagefs.inodesFree", "pid.available",
	}
)

func (c *checker) kubelet(path report.Path, k Kubelet) {
	if k.MaxPods < 1 {
		c.add(path.Field("maxPods"), fmt.Sprintf("%d is not a number of pods", k.MaxPods), "")
	}
	if !quantityPattern.MatchString(k.ContainerLogMaxSize) {
		c.add(path.Field("containerLogMaxSize"), fmt.Sprintf("%q is not a size", k.ContainerLogMaxSize), "write it as 20Mi")
	}
	if k.ContainerLogMaxFiles < 2 {
		c.add(path.Field("containerLogMaxFiles"), fmt.Sprintf("%d is less than the kubelet allows", k.ContainerLogMaxFiles), "use 2 or more")
	}
	c.quantities(path.Field("systemReserved"), k.SystemReserved, resources, quantityPattern, "500m or 1Gi")
	c.quantities(path.Field("kubeReserved"), k.KubeReserved, resources, quantityPattern, "500m or 1Gi")
	c.quantities(path.Field("evictionHard"), k.EvictionHard, evictionSignals, thresholdPattern, "200Mi or 10%")
	if k.MaxParallelImagePulls < 0 {
		c.add(path.Field("maxParallelImagePulls"), fmt.Sprintf("%d is not a number of pulls", k.MaxParallelImagePulls), "")
	}
	if k.ShutdownGracePeriodCriticalPods > k.ShutdownGracePeriod {
		c.add(path.Field("shutdownGracePeriodCriticalPods"), fmt.Sprintf("%s is longer than the whole shutdown, %s", k.ShutdownGracePeriodCriticalPods, k.ShutdownGracePeriod), "")
	}
	c.args(path.Field("extraArgs"), k.ExtraArgs, kubeletFlags)
}

// quantities checks amounts by name.
func (c *checker) quantities(path report.Path, amounts map[string]string, names []string, pattern *regexp.Regexp, example string) {
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		switch at := path.Field(name); {
		case !slices.Contains(names, name):
			c.add(at, fmt.Sprintf("unknown name %q", name), "the names are "+strings.Join(names, ", "))
		case !pattern.MatchString(amounts[name]):
			c.add(at, fmt.Sprintf("%q is not an amount", amounts[name]), "write it as "+example)
		}
	}
}

func (c *checker) proxy(path report.Path, k Kubernetes) {
	at := path.Field("mode")
	if c.oneOf(at, k.Proxy.Mode, ProxyNFTables, ProxyIPTables, ProxyIPVS, ProxyNone) && k.Proxy.Mode == ProxyIPVS {
		switch m := minor(k.Version); {
		case m >= ipvsRemoved:
			c.add(at, fmt.Sprintf("ipvs was removed in Kubernetes 1.%d", ipvsRemoved), "use nftables")
		case m >= ipvsOff:
			c.add(at, fmt.Sprintf("ipvs is off in Kubernetes 1.%d and newer", ipvsOff), "use nftables")
		case m >= ipvsDeprecated:
			c.warn(at, fmt.Sprintf("ipvs is deprecated since Kubernetes 1.%d, off in 1.%d and removed in 1.%d", ipvsDeprecated, ipvsOff, ipvsRemoved), "use nftables")
		}
	}
	for i, a := range k.Proxy.NodePortAddresses {
		at := path.Field("nodePortAddresses").Index(i)
		_, err := netip.ParsePrefix(a)
		word := a == "primary" || a == "localhost" || a == "all"
		if err != nil && !word {
			c.add(at, fmt.Sprintf("%q is neither a prefix nor primary, localhost or all", a), "write it as 192.0.2.0/24")
		}
		if word && len(k.Proxy.NodePortAddresses) > 1 {
			c.add(at, fmt.Sprintf("%q stands alone", a), "remove the others")
		}
	}
}

// patchTargets are those of kubeadm (cmd/kubeadm/app/util/patches), without
// etcd, which is not kubeadm's here.
var patchTargets = []string{
	"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeletconfiguration", "corednsdeployment", "kubeproxydaemonset",
}

func (c *checker) patch(path report.Path, p Patch) {
	if p.Target == "etcd" {
		c.add(path.Field("target"), "etcd is no static pod here, so kubeadm does not patch it", "use the fields of spec.etcd")
	} else {
		c.oneOf(path.Field("target"), p.Target, patchTargets...)
	}
	c.oneOf(path.Field("type"), p.Type, "strategic", "merge", "json")
	if problem := yamlProblem(p.Patch); problem != "" {
		c.add(path.Field("patch"), problem, "")
	}
}
