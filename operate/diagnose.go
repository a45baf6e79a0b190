package operate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
)

// Urgency of a finding.
type Urgency int

// The urgencies, the most urgent first.
const (
	// Now: something does not work, or has expired.
	Now Urgency = iota
	// Soon: it will, within [Warning].
	Soon
	// Fine is for information.
	Fine
)

// String is the word that people see.
func (u Urgency) String() string {
	switch u {
	case Now:
		return "now"
	case Soon:
		return "soon"
	}
	return "fine"
}

// MarshalText writes the word.
func (u Urgency) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Warning is how long before its end a certificate is a finding: the time that
// a rolling replacement of a large cluster may take.
const Warning = 60 * 24 * time.Hour

// quotaWarning is the share of etcd's quota at which it is a finding; at all of
// it etcd takes no more writes.
const quotaWarning = 0.8

// kubeletSkew is how many minor versions a kubelet may be older than an API
// server: https://kubernetes.io/releases/version-skew-policy/.
const kubeletSkew = 3

// A Finding is one thing that [Diagnose] found.
type Finding struct {
	Urgency Urgency `json:"urgency"`
	// Subject is what it is about: "etcd member cp1".
	Subject string `json:"subject"`
	Message string `json:"message"`
	// Until is when a certificate ends.
	Until *time.Time `json:"until,omitempty"`
	// Remedy is what to do, empty if there is nothing to do.
	Remedy string `json:"remedy,omitempty"`
}

// Diagnose lists what is wrong with a cluster and what expires when, the most
// urgent first. Facts may be nil: then the certificates alone are looked at,
// those of files.
func Diagnose(c cluster.Cluster, facts *Facts, files []Certificate, now time.Time) []Finding {
	var all []Finding
	for _, cert := range files {
		all = append(all, expiry(cert, now))
	}
	if facts != nil {
		for _, s := range facts.Silent {
			all = append(all, Finding{Urgency: Now, Subject: s.What, Message: fmt.Sprintf("does not answer: %v", s.Err), Remedy: "see to the machine, its network and its journal"})
		}
		for _, cert := range facts.Certificates {
			all = append(all, expiry(cert, now))
		}
		all = append(all, nodeFindings(c, *facts)...)
		all = append(all, etcdFindings(c, "etcd", facts.Members)...)
		all = append(all, etcdFindings(c, "etcd of events", facts.Events)...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		if n := cmp.Compare(a.Urgency, b.Urgency); n != 0 || a.Until == nil || b.Until == nil {
			return n
		}
		return a.Until.Compare(*b.Until)
	})
	return all
}

func expiry(cert Certificate, now time.Time) Finding {
	until := cert.NotAfter.UTC()
	f := Finding{Subject: cert.Of, Until: &until}
	switch left := until.Sub(now); {
	case left <= 0:
		f.Urgency, f.Message = Now, "expired "+until.Format(time.DateOnly)
	case left <= Warning:
		f.Urgency, f.Message = Soon, fmt.Sprintf("expires %s, in %d days", until.Format(time.DateOnly), int(left.Hours()/24))
	default:
		f.Urgency, f.Message = Fine, "valid until "+until.Format(time.DateOnly)
	}
	switch f.Urgency {
	case Now:
		f.Remedy = "install the node again, or renew the authority first if that ends too (k8snode secrets show)"
	case Soon:
		f.Remedy = "leave k8snode serve running: control planes renew theirs (k8snode-renew.timer); or install the node again, " +
			"after renewing the authority if that ends too (k8snode secrets show)"
	}
	return f
}

func nodeFindings(c cluster.Cluster, facts Facts) []Finding {
	if facts.Version == "" {
		return nil
	}
	var all []Finding
	add := func(u Urgency, name, message, remedy string) {
		all = append(all, Finding{Urgency: u, Subject: "node " + name, Message: message, Remedy: remedy})
	}
	seen := map[string]bool{}
	for _, n := range facts.Nodes {
		seen[n.Name] = true
		if _, ok := c.Node(n.Name); !ok {
			add(Soon, n.Name, "is in the cluster and not in the document", "add it, or run k8snode node remove "+n.Name)
		}
		if !n.Ready {
			add(Now, n.Name, "is not Ready: "+n.Reason, "see its journal; a node that does not come back is installed again")
		}
		if n.Drained {
			add(Soon, n.Name, "takes no pods (it is cordoned)", "kubectl uncordon "+n.Name)
		}
		server, kubelet := minorOf(facts.Version), minorOf(n.Version)
		switch {
		case kubelet > server:
			add(Now, n.Name, fmt.Sprintf("its kubelet %s is newer than the API server %s", n.Version, facts.Version), "control planes are upgraded first")
		case server-kubelet > kubeletSkew:
			add(Now, n.Name, fmt.Sprintf("its kubelet %s is more than %d versions older than the API server %s", n.Version, kubeletSkew, facts.Version), "install it again with a newer image")
		case n.Version != c.Spec.Kubernetes.Version:
			add(Soon, n.Name, fmt.Sprintf("runs %s, and the document says %s", n.Version, c.Spec.Kubernetes.Version), "install it again")
		}
	}
	for _, n := range c.Spec.Nodes {
		if !seen[n.Name] {
			add(Now, n.Name, "is in the document and not in the cluster", "k8snode arm "+n.Name+", and switch the machine on")
		}
	}
	return all
}

func etcdFindings(c cluster.Cluster, etcd string, members []Member) []Finding {
	var all []Finding
	add := func(u Urgency, m Member, message, remedy string) {
		name := m.Name
		if name == "" {
			name = fmt.Sprintf("%x", m.ID)
		}
		all = append(all, Finding{Urgency: u, Subject: etcd + " member " + name, Message: message, Remedy: remedy})
	}
	for _, m := range members {
		if _, ok := c.Node(m.Name); !ok && m.Name != "" {
			add(Now, m, "is no node of the document", "k8snode node remove "+m.Name)
		}
		switch {
		case !m.Healthy:
			add(Now, m, "does not answer", "see to the machine; install it again if its disk is lost")
			continue
		case m.Learner:
			add(Soon, m, "does not vote yet", "it is promoted by itself when it has caught up: see etcd-promote.service")
		}
		for _, alarm := range m.Alarms {
			add(Now, m, alarm, "https://etcd.io/docs/v3.6/op-guide/maintenance/")
		}
		if m.Quota > 0 {
			share := float64(m.Size) / float64(m.Quota)
			urgency, remedy := Fine, ""
			if share >= quotaWarning {
				urgency, remedy = Soon, "defragment it; then look for what fills it, before etcd.quotaGiB is raised"
			}
			add(urgency, m, fmt.Sprintf("holds %d MiB, %.0f %% of its quota", m.Size>>20, share*100), remedy)
		}
	}
	if n := len(members); n > 0 && n < len(c.ControlPlanes()) {
		all = append(all, Finding{
			Urgency: Now, Subject: etcd, Message: fmt.Sprintf("has %d members of %d", n, len(c.ControlPlanes())),
			Remedy: "switch the missing control planes on",
		})
	}
	return all
}

// minorOf reads v1.37.2; what it cannot read is 0.
func minorOf(version string) int {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return minor
}
