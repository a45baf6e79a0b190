package operate

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/operate/kube"
)

// A Node is what Kubernetes says of one.
type Node = kube.Node

const (
	// credentialLife is that of the certificates that are minted to look.
	credentialLife = time.Hour
	// dialTimeout is how long a server may take to answer at all.
	dialTimeout = 5 * time.Second

	apiServerPort = 6443
)

// Live is a connection to a cluster that runs.
type Live struct {
	cluster cluster.Cluster
	kube    *kube.Client
	tls     *tls.Config
}

// Connect mints certificates and prepares to ask. It opens no connection.
func Connect(c cluster.Cluster, b pki.Bundle, opts pki.Options) (*Live, error) {
	opts.Validity = credentialLife
	kubeconfig, err := butane.Kubeconfig(c, b, opts)
	if err != nil {
		return nil, err
	}
	client, err := kube.New(kubeconfig)
	if err != nil {
		return nil, err
	}
	pair, err := b.EtcdHealthcheckClient(opts)
	if err != nil {
		return nil, err
	}
	own, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate for etcd: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(b.Etcd.Certificate)) {
		return nil, errors.New("reading the authority of etcd: it holds no certificate")
	}
	return &Live{c, client, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}}, nil
}

// Look asks everybody once. What does not answer is in the facts.
func (l *Live) Look(ctx context.Context) Facts {
	var f Facts
	silent := func(what string, err error) { f.Silent = append(f.Silent, Silence{what, err}) }
	var err error
	if f.Version, err = l.kube.Version(ctx); err != nil {
		silent("the API server", err)
	} else if f.Nodes, err = l.kube.Nodes(ctx); err != nil {
		silent("the API server", err)
	}
	for _, n := range l.cluster.ControlPlanes() {
		servers := []struct{ what, address string }{{"the API server", net.JoinHostPort(n.IP().String(), strconv.Itoa(apiServerPort))}}
		for _, i := range l.instances() {
			servers = append(servers, struct{ what, address string }{etcdName(i), strings.TrimPrefix(i.ClientURL(n.IP().String()), "https://")})
		}
		for _, server := range servers {
			address := server.address
			of := server.what + " of " + n.Name + " at " + address
			notAfter, err := l.certificate(ctx, address)
			if err != nil {
				silent(of, err)
				continue
			}
			f.Certificates = append(f.Certificates, Certificate{of, notAfter})
		}
	}
	for _, i := range l.instances() {
		members, err := l.members(ctx, i)
		if err != nil {
			silent(etcdName(i), err)
		}
		switch i {
		case node.Main:
			f.Members = members
		case node.Events:
			f.Events = members
		}
	}
	return f
}

// instances are the etcd clusters that there are.
func (l *Live) instances() []node.Instance {
	if l.cluster.Spec.Etcd.Events.Enabled {
		return []node.Instance{node.Main, node.Events}
	}
	return []node.Instance{node.Main}
}

// etcdName is what people call an instance.
func etcdName(i node.Instance) string {
	if i == node.Events {
		return "the etcd of events"
	}
	return "etcd"
}

// certificate returns until when that of a server is valid. It is looked at, not
// trusted: one that has expired is what is looked for.
func (l *Live) certificate(ctx context.Context, address string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	plain, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return time.Time{}, err
	}
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, Certificates: l.tls.Certificates}) //nolint:gosec // see above
	defer plain.Close()
	if err := conn.HandshakeContext(ctx); err != nil {
		return time.Time{}, err
	}
	return conn.ConnectionState().PeerCertificates[0].NotAfter, nil
}

// members asks whoever answers for the list, and then each member itself.
func (l *Live) members(ctx context.Context, of node.Instance) ([]Member, error) {
	var endpoints []string
	for _, n := range l.cluster.ControlPlanes() {
		endpoints = append(endpoints, of.ClientURL(n.IP().String()))
	}
	client, err := l.etcd(endpoints...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	list, err := client.Members(ctx)
	if err != nil {
		return nil, err
	}
	var members []Member
	for _, m := range list {
		member := Member{Instance: of, ID: m.ID, Name: m.Name, Learner: m.Learner}
		for _, url := range m.ClientURLs {
			health, err := client.Health(ctx, url)
			if err != nil {
				continue
			}
			member.Endpoint, member.Healthy, member.Leader = url, true, health.Leader == m.ID
			member.Size, member.Quota, member.Alarms = health.Size, health.Quota, health.Problems
			break
		}
		members = append(members, member)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return members, nil
}

func (l *Live) etcd(endpoints ...string) (*etcd.Client, error) {
	return etcd.Dial(etcd.Options{Endpoints: endpoints, TLS: l.tls, CallTimeout: dialTimeout})
}

// SetVersion makes kubeadm install a version of Kubernetes on nodes that join.
func (l *Live) SetVersion(ctx context.Context, version string) error {
	return l.kube.SetVersion(ctx, version)
}

// StageProxy makes new pods of kube-proxy have a version; those that run stay.
func (l *Live) StageProxy(ctx context.Context, version string) error {
	return l.kube.StageProxy(ctx, version)
}

// ReleaseProxy lets the pods of kube-proxy be changed again.
func (l *Live) ReleaseProxy(ctx context.Context) error { return l.kube.ReleaseProxy(ctx) }

// perform does one step.
func (l *Live) perform(ctx context.Context, s Step, opts RunOptions) error {
	switch s.Action {
	case Drain:
		return l.kube.Drain(ctx, s.Node, opts.DrainTimeout, opts.Progress)
	case DeleteNode:
		return l.kube.Delete(ctx, s.Node)
	case MoveLeader, RemoveMember:
		return l.changeMembers(ctx, s)
	}
	return fmt.Errorf("internal error: no action %q", s.Action)
}

func (l *Live) changeMembers(ctx context.Context, s Step) error {
	// The cluster may have another leader by now, or members.
	members, err := l.members(ctx, cmp.Or(s.Member.Instance, node.Main))
	if err != nil {
		return err
	}
	at := slices.IndexFunc(members, func(m Member) bool {
		return m.Healthy && (s.Action == MoveLeader && m.Leader || s.Action == RemoveMember && m.ID != s.Member.ID && !m.Learner)
	})
	if at < 0 {
		return errors.New("no member of etcd answers that can do it")
	}
	client, err := l.etcd(members[at].Endpoint)
	if err != nil {
		return err
	}
	defer client.Close()
	if s.Action == RemoveMember {
		if err := client.Remove(ctx, s.Member.ID); !errors.Is(err, etcd.ErrGone) {
			return err
		}
		return nil
	}
	if members[at].ID == s.Member.ID {
		return nil // It has moved by itself.
	}
	return client.MoveLeader(ctx, s.Member.ID)
}
