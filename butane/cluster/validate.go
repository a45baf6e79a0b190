package cluster

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/report"
)

// Validate returns all that is wrong with the cluster, with the path of each
// field. The cluster must have its defaults.
func (c Cluster) Validate() report.Problems {
	ch := checker{}
	ch.label("metadata.name", c.Metadata.Name)
	ch.kubernetes(c.Spec.Kubernetes)
	ch.etcd(c.Spec.Etcd)
	ch.nodes(c.Spec.Nodes)
	nets := ch.networks(c.Spec)
	ch.addresses(c.Spec, nets)
	ch.podCIDRs(c.Spec, nets)
	ch.network(c.Spec.Network, nets)
	ch.provision(c.Spec.Provision, nets)
	ch.sshKeys(c.Spec.SSHAuthorizedKeys)
	return ch.problems
}

// checker collects problems. Its methods check one part of a cluster each.
type checker struct {
	problems report.Problems
}

func (c *checker) add(path report.Path, message, remedy string) {
	c.problems.Add(path, message, remedy)
}

// seen finds values that must not occur twice.
type seen map[string]report.Path

func (c *checker) unique(seen seen, path report.Path, value string) {
	if first, ok := seen[value]; ok {
		c.add(path, fmt.Sprintf("%s is already at %s", value, first), "")
		return
	}
	seen[value] = path
}

var labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// label checks an RFC 1123 label.
func (c *checker) label(path report.Path, name string) bool {
	if name == "" {
		c.add(path, "missing", "")
		return false
	}
	if labelPattern.MatchString(name) {
		return true
	}
	remedy := "use at most 63 lower-case letters, digits and hyphens, no hyphen at an end"
	if strings.Contains(name, "_") {
		remedy = "an underscore is not allowed in a host name, write a hyphen"
	}
	c.add(path, fmt.Sprintf("%q is not an RFC 1123 label", name), remedy)
	return false
}

// isDNSName reports whether name is an RFC 1123 subdomain.
func isDNSName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if !labelPattern.MatchString(part) {
			return false
		}
	}
	// The last part of an IPv4 address is digits only, that of a name never.
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

var versionPattern = regexp.MustCompile(`^v1\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)

func (c *checker) kubernetes(k Kubernetes) {
	const path report.Path = "spec.kubernetes"
	switch {
	case k.Version == "":
		c.add(path.Field("version"), "missing", "write the version of the image, for instance v1.37.2")
	case !versionPattern.MatchString(k.Version):
		c.add(path.Field("version"), fmt.Sprintf("%q is not a Kubernetes release", k.Version), "write it as v1.37.2")
	}
	c.endpoint(path.Field("endpoint"), k.Endpoint)
	if !isDNSName(k.DNSDomain) {
		c.add(path.Field("dnsDomain"), fmt.Sprintf("%q is not a DNS name", k.DNSDomain), "")
	}
	switch k.ProxyMode {
	case ProxyNFTables, ProxyIPTables:
	case "ipvs":
		c.add(path.Field("proxyMode"), "ipvs is deprecated since Kubernetes 1.35 and removed in 1.43", "use nftables")
	default:
		c.add(path.Field("proxyMode"), fmt.Sprintf("unknown mode %q", k.ProxyMode), "use nftables or iptables")
	}
	if k.MaxPods < 1 {
		c.add(path.Field("maxPods"), fmt.Sprintf("%d is not a number of pods", k.MaxPods), "")
	}
	names := seen{}
	for i, san := range k.CertSANs {
		at := path.Field("certSANs").Index(i)
		// An API server may have a wildcard name in front of it.
		_, err := netip.ParseAddr(san)
		if err != nil && !isDNSName(strings.TrimPrefix(san, "*.")) {
			c.add(at, fmt.Sprintf("%q is neither a DNS name nor an IP address", san), "")
			continue
		}
		c.unique(names, at, san)
	}
	if validity := time.Duration(k.CertificateValidity); validity <= 24*time.Hour {
		c.add(path.Field("certificateValidity"), fmt.Sprintf("%s is too short to renew in time", k.CertificateValidity), "use more than 24h")
	}
}

func (c *checker) endpoint(path report.Path, endpoint string) {
	host, _, hasPort := strings.Cut(endpoint, ":")
	_, err := netip.ParseAddr(endpoint)
	_, hostErr := netip.ParseAddr(host)
	switch {
	case endpoint == "":
		c.add(path, "missing", "write the DNS name of the API servers")
	case err == nil || hostErr == nil:
		c.add(path, fmt.Sprintf("%s is an IP address, which could never be given to another machine", endpoint),
			"write a DNS name; every node resolves it by its own /etc/hosts")
	case strings.Contains(endpoint, "://"):
		c.add(path, fmt.Sprintf("%q is a URL", endpoint), "write the DNS name only")
	case hasPort && isDNSName(host):
		c.add(path, fmt.Sprintf("%q has a port", endpoint), "write "+host+"; the port is 6443")
	case !isDNSName(endpoint):
		c.add(path, fmt.Sprintf("%q is not a DNS name", endpoint), "")
	}
}

// Limits of etcd: its tuning guide and server/embed/config.go.
const (
	maxElectionMillis = 50_000
	maxQuotaGiB       = 8
)

func (c *checker) etcd(e Etcd) {
	const path report.Path = "spec.etcd"
	if e.HeartbeatMillis < 1 {
		c.add(path.Field("heartbeatMillis"), fmt.Sprintf("%d is not a time", e.HeartbeatMillis), "")
	}
	switch at := path.Field("electionMillis"); {
	case e.ElectionMillis > maxElectionMillis:
		c.add(at, fmt.Sprintf("%d ms is more than etcd allows", e.ElectionMillis), "use at most 50000")
	case e.ElectionMillis < 5*e.HeartbeatMillis:
		c.add(at, fmt.Sprintf("%d ms is less than five heartbeats of %d ms", e.ElectionMillis, e.HeartbeatMillis),
			fmt.Sprintf("use at least %d", 5*e.HeartbeatMillis))
	}
	if e.QuotaGiB < 1 || e.QuotaGiB > maxQuotaGiB {
		c.add(path.Field("quotaGiB"), fmt.Sprintf("%d GiB is out of range", e.QuotaGiB), "use 1 to 8")
	}
}

// sshKeyTypes are the key types that sshd takes by default.
var sshKeyTypes = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

func (c *checker) sshKeys(keys []string) {
	found := seen{}
	for i, key := range keys {
		path := report.Path("spec.sshAuthorizedKeys").Index(i)
		words := strings.Fields(key)
		switch {
		case strings.Contains(key, "PRIVATE KEY"):
			c.add(path, "this is a private key", "remove it from the document, replace the key, and write the public one")
		case strings.ContainsAny(key, "\n\r") || len(words) < 2 || !slices.Contains(sshKeyTypes, words[0]) || !isSSHKey(words[0], words[1]):
			c.add(path, "not a public SSH key", "write the line of a .pub file, for instance ssh-ed25519 AAAA... name")
		default:
			c.unique(found, path, words[1])
		}
	}
}
