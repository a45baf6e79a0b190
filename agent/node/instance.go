package node

import (
	"fmt"
	"net"
	"path"
)

// An Instance is one of the etcd clusters that a control plane is a member of.
type Instance string

// The instances.
const (
	// Main has all that the API server keeps.
	Main Instance = "main"
	// Events has the events, where the cluster document asks for that.
	Events Instance = "events"
)

// Of returns what the guard is told about the instance; nil if the node has none.
func (i Instance) Of(c Config) *Etcd {
	switch i {
	case Main:
		return c.Etcd
	case Events:
		return c.Events
	}
	return nil
}

// DataDir is etcd's data folder.
func (i Instance) DataDir() string { return path.Join(EtcdMount, string(i)) }

// Env is the fixed part of etcd's environment, in a file.
func (i Instance) Env() string { return path.Join("/etc/etcd", string(i)+".env") }

// BootstrapEnv is the part that the guard decides at every start.
func (i Instance) BootstrapEnv() string { return path.Join("/run/etcd", string(i)+".env") }

// Token is the initial-cluster-token. It goes into the IDs of the cluster and of
// its members.
func (i Instance) Token(clusterID string, generation int) string {
	return fmt.Sprintf("%s-%d-%s", clusterID, generation, i)
}

// ports are those of clients, of peers and of metrics.
func (i Instance) ports() (client, peer, metrics string) {
	if i == Events {
		return "2383", "2382", "2384"
	}
	return "2379", "2380", "2381"
}

// ClientURL and PeerURL are those of the member at an address: etcd depends on
// no names.
func (i Instance) ClientURL(address string) string {
	port, _, _ := i.ports()
	return "https://" + net.JoinHostPort(address, port)
}

// PeerURL is where other members reach it.
func (i Instance) PeerURL(address string) string {
	_, port, _ := i.ports()
	return "https://" + net.JoinHostPort(address, port)
}

// MetricsURL is on the loopback.
func (i Instance) MetricsURL() string {
	_, _, port := i.ports()
	return "http://" + net.JoinHostPort("127.0.0.1", port)
}
