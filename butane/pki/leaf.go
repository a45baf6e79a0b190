package pki

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// Default lives of leaves.
const (
	// DefaultLeafValidity is that of kubeadm.
	DefaultLeafValidity = 8760 * time.Hour
	// DefaultJoinValidity is that of kubeadm's bootstrap tokens: long enough
	// for a machine that waits for its control plane, and no longer, as
	// whoever holds the credential can add a node.
	DefaultJoinValidity = 24 * time.Hour
	// DefaultOperatorValidity is short because nothing revokes the operator.
	DefaultOperatorValidity = 24 * time.Hour
)

// Groups of client certificates.
const (
	// BootstrapGroup is the group that kubeadm binds to all that a joining
	// node needs; a member of it needs no bootstrap token.
	BootstrapGroup = "system:bootstrappers:kubeadm:default-node-token"
	// OperatorGroup passes authorization without any binding, so it works
	// before kubeadm has made one (kubeadm:cluster-admins) and after somebody
	// deleted it.
	OperatorGroup = "system:masters"
)

// Host names the node that a server certificate is for.
type Host struct {
	Name    string
	Address netip.Addr
}

// EtcdServer mints etcd's server certificate. It also serves as a client's:
// etcd dials itself with it (etcd-io/etcd#9785).
func (b Bundle) EtcdServer(host Host, opts Options) (KeyPair, error) {
	return leaf(b.Etcd, etcdMember(host), opts)
}

// EtcdPeer mints the certificate that members of etcd show to each other.
func (b Bundle) EtcdPeer(host Host, opts Options) (KeyPair, error) {
	return leaf(b.Etcd, etcdMember(host), opts)
}

// EtcdHealthcheckClient mints the client certificate of the etcd guard.
func (b Bundle) EtcdHealthcheckClient(opts Options) (KeyPair, error) {
	return leaf(b.Etcd, client("kube-etcd-healthcheck-client"), opts)
}

// APIServerEtcdClient mints the certificate with which the API server speaks
// to etcd.
func (b Bundle) APIServerEtcdClient(opts Options) (KeyPair, error) {
	return leaf(b.Etcd, client("kube-apiserver-etcd-client"), opts)
}

// JoinCredential mints the certificate with which the node named joins. Its
// life is [DefaultJoinValidity] unless set.
func (b Bundle) JoinCredential(node string, opts Options) (KeyPair, error) {
	p := client("system:bootstrap-image:" + node)
	p.organization = BootstrapGroup
	p.defaultLength = DefaultJoinValidity
	return leaf(b.Kubernetes, p, opts)
}

// Operator mints a client certificate for the cluster's operator, of group
// [OperatorGroup]. Nothing can take that right away before the certificate
// ends: its life is [DefaultOperatorValidity] unless set.
func (b Bundle) Operator(opts Options) (KeyPair, error) {
	p := client("kubernetes-admin")
	p.organization = OperatorGroup
	p.defaultLength = DefaultOperatorValidity
	return leaf(b.Kubernetes, p, opts)
}

// ProvisionServer mints the certificate of the provisioning server, which
// machines reach by address. It begins long before Options.Now, as their
// clocks may be wrong by years.
func (b Bundle) ProvisionServer(address netip.Addr, opts Options) (KeyPair, error) {
	return leaf(b.Provision, profile{
		commonName:    "k8snode-provision",
		usages:        []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		addresses:     []netip.Addr{address},
		backdate:      provisionBackdate,
		defaultLength: DefaultLeafValidity,
	}, opts)
}

// A Site is where operators reach the provisioning server.
type Site struct {
	Names     []string
	Addresses []netip.Addr
}

// OperatorSite signs the certificate of the operators' site, by the authority
// that machines trust for the provisioning server.
func (b Bundle) OperatorSite(site Site, opts Options) (KeyPair, error) {
	return leaf(b.Provision, profile{
		commonName:    "k8snode-operators",
		usages:        []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		dnsNames:      site.Names,
		addresses:     site.Addresses,
		backdate:      backdate,
		defaultLength: DefaultLeafValidity,
	}, opts)
}

func etcdMember(host Host) profile {
	return profile{
		commonName: host.Name,
		usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		dnsNames:   []string{host.Name, "localhost"},
		addresses: []netip.Addr{
			host.Address,
			netip.AddrFrom4([4]byte{127, 0, 0, 1}),
			netip.IPv6Loopback(),
		},
		backdate:      backdate,
		defaultLength: DefaultLeafValidity,
	}
}

func client(commonName string) profile {
	return profile{
		commonName:    commonName,
		usages:        []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		backdate:      backdate,
		defaultLength: DefaultLeafValidity,
	}
}
