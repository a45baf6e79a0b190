package butane

import (
	"encoding/json"
	"fmt"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/provision/api"
)

// loginUser is the account that the cluster's SSH keys open.
const loginUser = "core"

// identityFiles tell the agent which node this is and where it reports.
func identityFiles(n node) ([]File, error) {
	config := agentnode.Config{
		Cluster:    n.Cluster.Metadata.Name,
		ClusterID:  n.Bundle.ClusterID,
		Generation: n.spec.Etcd.Generation,
		Name:       n.Name,
		Role:       agentnode.Role(n.Role),
		Address:    n.IP().String(),
		Kubernetes: n.spec.Kubernetes.Version,
		Runtime:    agentnode.Runtime(n.spec.Runtime.Name),
		NoProxy:    n.spec.Kubernetes.Proxy.Mode == cluster.ProxyNone,
		Endpoint:   serverURL(n.spec.Endpoint.Name, n.spec.Endpoint.Port),
	}
	if n.controlPlane() {
		for _, i := range instances(n.spec) {
			switch e := guarded(n, i.Instance); i.Instance {
			case agentnode.Main:
				if !n.GenesisUntil.IsZero() {
					e.Restore = n.spec.Etcd.Restore.Snapshot
				}
				config.Etcd = e
			case agentnode.Events:
				config.Events = e
			}
		}
	}
	self, err := marshalJSON(config)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.Path, err)
	}
	report, err := marshalJSON(n.Report)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", api.ReportPath, err)
	}
	return []File{
		file("/etc/hostname", 0o644, n.Name+"\n"),
		file(agentnode.Path, 0o600, self),
		file(api.ReportPath, 0o600, report),
	}, nil
}

// guarded is what etcd's guard is told about an instance.
func guarded(n node, i agentnode.Instance) *agentnode.Etcd {
	e := &agentnode.Etcd{PeerURL: i.PeerURL(n.IP().String()), Members: map[string]string{}, Clients: map[string]string{}}
	for _, member := range n.Cluster.ControlPlanes() {
		address := member.IP().String()
		e.Members[member.Name], e.Clients[member.Name] = i.PeerURL(address), i.ClientURL(address)
	}
	if !n.GenesisUntil.IsZero() {
		until := n.GenesisUntil.UTC()
		e.GenesisUntil = &until
	}
	return e
}

// users has the login user, when there are keys for it.
func users(n node) *Passwd {
	if len(n.spec.SSHAuthorizedKeys) == 0 {
		return nil
	}
	return &Passwd{Users: []User{{
		Name: loginUser,
		// The root is read-only; /home may be part of it.
		HomeDir:           "/var/home/" + loginUser,
		Shell:             "/bin/bash",
		Groups:            []string{"sudo"},
		SSHAuthorizedKeys: n.spec.SSHAuthorizedKeys,
	}}}
}

func loginFiles(n node) ([]File, error) {
	if len(n.spec.SSHAuthorizedKeys) == 0 {
		return nil, nil
	}
	sshd, err := execute("sshd.conf.tmpl", nil)
	if err != nil {
		return nil, err
	}
	sudoers, err := execute("sudoers.tmpl", loginUser)
	if err != nil {
		return nil, err
	}
	return []File{
		file("/etc/ssh/sshd_config.d/10-k8snode.conf", 0o644, sshd),
		file("/etc/sudoers.d/k8snode", 0o440, sudoers),
	}, nil
}

func marshalJSON(v any) (string, error) {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", err
	}
	return string(content) + "\n", nil
}
