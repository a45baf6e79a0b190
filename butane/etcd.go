package butane

import (
	"path"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
)

// EtcdID is the number of the user and the group etcd in the image. It repeats
// that of the recipe: the user does not exist yet when Ignition writes files.
const EtcdID = 62379

type etcdData struct {
	Name, ClusterID                 string
	DataDir, PKIDir                 string
	PeerURL, ClientURL              string
	HeartbeatMillis, ElectionMillis int
	QuotaBytes                      int64
	CompactionMode                  string
	CompactionRetention             string
}

// etcdFiles are the member's environment and its certificates. The state of
// the cluster is not among them: the guard finds it out at every start.
func etcdFiles(n node) ([]File, error) {
	if !n.controlPlane() {
		return nil, nil
	}
	env, err := execute("etcd.env.tmpl", etcdData{
		Name:            n.Name,
		ClusterID:       n.Bundle.ClusterID,
		DataDir:         agentnode.EtcdDataDir,
		PKIDir:          agentnode.EtcdPKIDir,
		PeerURL:         peerURL(n.Node),
		ClientURL:       clientURL(n.Node),
		HeartbeatMillis: n.spec.Etcd.HeartbeatMillis,
		ElectionMillis:  n.spec.Etcd.ElectionMillis,
		QuotaBytes:      int64(n.spec.Etcd.QuotaGiB) << 30,

		CompactionMode:      n.spec.Etcd.CompactionMode,
		CompactionRetention: n.spec.Etcd.CompactionRetention,
	})
	if err != nil {
		return nil, err
	}
	envFile := file(agentnode.EtcdEnv, 0o640, env)
	envFile.User, envFile.Group = &Owner{0}, &Owner{EtcdID}
	files := []File{
		envFile,
		ofEtcd(file(path.Join(agentnode.EtcdPKIDir, "ca.crt"), 0o644, n.Bundle.Etcd.Certificate)),
	}

	host := pki.Host{Name: n.Name, Address: n.IP()}
	server, err := n.Bundle.EtcdServer(host, n.mint())
	if err != nil {
		return nil, err
	}
	peer, err := n.Bundle.EtcdPeer(host, n.mint())
	if err != nil {
		return nil, err
	}
	healthcheck, err := n.Bundle.EtcdHealthcheckClient(n.mint())
	if err != nil {
		return nil, err
	}
	for _, leaf := range []struct {
		name string
		pair pki.KeyPair
	}{
		{"server", server},
		{"peer", peer},
		{"healthcheck-client", healthcheck},
	} {
		for _, f := range pairFiles(path.Join(agentnode.EtcdPKIDir, leaf.name), leaf.pair) {
			files = append(files, ofEtcd(f))
		}
	}
	return files, nil
}

// authorityFiles are what kubeadm needs of the bundle on a control plane. The
// private key of etcd's authority is not among them.
func authorityFiles(n node) ([]File, error) {
	if !n.controlPlane() {
		return nil, nil
	}
	client, err := n.Bundle.APIServerEtcdClient(n.mint())
	if err != nil {
		return nil, err
	}
	files := []File{
		file(path.Join(agentnode.PKIDir, "etcd/ca.crt"), 0o644, n.Bundle.Etcd.Certificate),
		file(path.Join(agentnode.PKIDir, "sa.key"), 0o600, n.Bundle.ServiceAccount.Key),
		file(path.Join(agentnode.PKIDir, "sa.pub"), 0o600, n.Bundle.ServiceAccount.PublicKey),
	}
	files = append(files, pairFiles(path.Join(agentnode.PKIDir, "ca"), n.Bundle.Kubernetes)...)
	files = append(files, pairFiles(path.Join(agentnode.PKIDir, "front-proxy-ca"), n.Bundle.FrontProxy)...)
	files = append(files, pairFiles(path.Join(agentnode.PKIDir, "apiserver-etcd-client"), client)...)
	return files, nil
}

func pairFiles(stem string, pair pki.KeyPair) []File {
	return []File{
		file(stem+".crt", 0o644, pair.Certificate),
		file(stem+".key", 0o600, pair.Key),
	}
}

func ofEtcd(f File) File {
	f.User, f.Group = &Owner{EtcdID}, &Owner{EtcdID}
	return f
}

// URLs have addresses, so that etcd does not depend on names.

func peerURL(n cluster.Node) string { return "https://" + n.IP().String() + ":2380" }

func clientURL(n cluster.Node) string { return "https://" + n.IP().String() + ":2379" }
