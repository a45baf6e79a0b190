package cluster

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// Validate returns all that is wrong with the cluster, with the path of each
// field: errors, and warnings of what works and will probably be regretted.
// The cluster must have its defaults.
func (c Cluster) Validate() report.Problems {
	ch := checker{}
	ch.label("metadata.name", c.Metadata.Name)
	ch.kubernetes(c.Spec.Kubernetes)
	ch.etcd(c)
	ch.runtime(c.Spec)
	ch.nodes(c.Spec.Nodes)
	nets := ch.networks(c.Spec)
	ch.addresses(c.Spec, nets)
	ch.podCIDRs(c.Spec, nets)
	ch.network(c.Spec.Network, nets)
	ch.endpoint(c.Spec, nets)
	ch.highAvailability(c)
	ch.provision(c.Spec.Provision, nets)
	ch.system(c.Spec)
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

func (c *checker) warn(path report.Path, message, remedy string) {
	c.problems.Warn(path, message, remedy)
}

// oneOf checks a word of a few.
func (c *checker) oneOf(path report.Path, value string, words ...string) bool {
	if slices.Contains(words, value) {
		return true
	}
	last := len(words) - 1
	c.add(path, fmt.Sprintf("unknown value %q", value), "use "+strings.Join(words[:last], ", ")+" or "+words[last])
	return false
}

// between checks a number.
func (c *checker) between(path report.Path, value, low, high int) bool {
	if value >= low && value <= high {
		return true
	}
	c.add(path, fmt.Sprintf("%d is out of range", value), fmt.Sprintf("use %d to %d", low, high))
	return false
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
