package butane

import (
	"fmt"
	"path"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
)

// EtcdID is the number of the user and the group etcd in the image. It repeats
// that of the recipe: the user does not exist yet when Ignition writes files.
const EtcdID = 62379

type etcdData struct {
	Name, Token                     string
	DataDir, PKIDir                 string
	PeerURL, ClientURL, LocalURL    string
	MetricsURL                      string
	HeartbeatMillis, ElectionMillis int
	QuotaBytes                      int64
	CompactionMode                  string
	CompactionRetention             string
}

// instances are the etcd clusters that control planes have, with their quotas.
func instances(s cluster.Spec) []etcdInstance {
	all := []etcdInstance{{agentnode.Main, s.Etcd.QuotaGiB}}
	if s.Etcd.Events.Enabled {
		all = append(all, etcdInstance{agentnode.Events, s.Etcd.Events.QuotaGiB})
	}
	return all
}

type etcdInstance struct {
	agentnode.Instance
	quotaGiB int
}

// etcdFiles are the members' environments and their certificates. The state of
// the clusters is not among them: the guard finds it out at every start.
func etcdFiles(n node) ([]File, error) {
	if !n.controlPlane() {
		return nil, nil
	}
	files := []File{ofEtcd(file(path.Join(agentnode.EtcdPKIDir, "ca.crt"), 0o644, n.Bundle.Etcd.Certificate))}
	for _, i := range instances(n.spec) {
		env, err := execute("etcd.env.tmpl", etcdData{
			Name:            n.Name,
			Token:           i.Token(n.Bundle.ClusterID, n.spec.Etcd.Generation),
			DataDir:         i.DataDir(),
			PKIDir:          agentnode.EtcdPKIDir,
			PeerURL:         i.PeerURL(n.IP().String()),
			ClientURL:       i.ClientURL(n.IP().String()),
			LocalURL:        i.ClientURL("127.0.0.1"),
			MetricsURL:      i.MetricsURL(),
			HeartbeatMillis: n.spec.Etcd.HeartbeatMillis,
			ElectionMillis:  n.spec.Etcd.ElectionMillis,
			QuotaBytes:      int64(i.quotaGiB) << 30,

			CompactionMode:      n.spec.Etcd.CompactionMode,
			CompactionRetention: n.spec.Etcd.CompactionRetention,
		})
		if err != nil {
			return nil, err
		}
		envFile := file(i.Env(), 0o640, env)
		envFile.User, envFile.Group = &Owner{0}, &Owner{EtcdID}
		files = append(files, envFile)
	}

	for _, name := range agentnode.EtcdCertificates() {
		if name == agentnode.APIServerEtcdClient {
			continue // Of kubeadm's folder: see authorityFiles.
		}
		pair, err := etcdLeaf(n, name, n.mint())
		if err != nil {
			return nil, err
		}
		for _, f := range pairFiles(path.Join(agentnode.EtcdPKIDir, name), pair) {
			files = append(files, ofEtcd(f))
		}
	}
	return files, nil
}

// etcdLeaf mints the node's certificate of that name.
func etcdLeaf(n node, name string, opts pki.Options) (pki.KeyPair, error) {
	host := pki.Host{Name: n.Name, Address: n.IP()}
	switch name {
	case agentnode.EtcdServer:
		return n.Bundle.EtcdServer(host, opts)
	case agentnode.EtcdPeer:
		return n.Bundle.EtcdPeer(host, opts)
	case agentnode.EtcdHealthcheckClient:
		return n.Bundle.EtcdHealthcheckClient(opts)
	case agentnode.APIServerEtcdClient:
		return n.Bundle.APIServerEtcdClient(opts)
	}
	return pki.KeyPair{}, fmt.Errorf("there is no certificate %q", name)
}

// authorityFiles are what kubeadm needs of the bundle on a control plane. The
// private key of etcd's authority is not among them.
func authorityFiles(n node) ([]File, error) {
	if !n.controlPlane() {
		return nil, nil
	}
	client, err := etcdLeaf(n, agentnode.APIServerEtcdClient, n.mint())
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
	files = append(files, pairFiles(path.Join(agentnode.PKIDir, agentnode.APIServerEtcdClient), client)...)
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

// clientURLs are those of an instance on all control planes.
func clientURLs(i agentnode.Instance, c cluster.Cluster) []string {
	var urls []string
	for _, member := range c.ControlPlanes() {
		urls = append(urls, i.ClientURL(member.IP().String()))
	}
	return urls
}
