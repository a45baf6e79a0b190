package node

import "path"

// Names of the certificates of etcd that a control plane has: those of their files,
// without extension.
const (
	EtcdServer            = "server"
	EtcdPeer              = "peer"
	EtcdHealthcheckClient = "healthcheck-client"
	APIServerEtcdClient   = "apiserver-etcd-client"
)

// KubePKIDir is where kubeadm and the control plane have their certificates.
const KubePKIDir = "/etc/kubernetes/pki"

// EtcdCertificates are all of these names.
func EtcdCertificates() []string {
	return []string{EtcdServer, EtcdPeer, EtcdHealthcheckClient, APIServerEtcdClient}
}

// CertificateFiles are the paths of a certificate, without extension: the first is
// the one that was delivered, others are copies of it.
func CertificateFiles(name string) []string {
	if name == APIServerEtcdClient {
		return []string{path.Join(PKIDir, name), path.Join(KubePKIDir, name)}
	}
	return []string{path.Join(EtcdPKIDir, name)}
}
