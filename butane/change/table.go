package change

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane"
)

// A reader is who reads a file of a node, and when.
type reader struct {
	// pattern is a path, or one that ends in / for all below it.
	pattern  string
	effect   Effect
	services []string
	note     string
}

// readers has the first match for each path. What is not in it needs a new
// installation.
var readers = []reader{
	{"/etc/hosts", File, nil, ""},
	{"/etc/resolv.conf", File, nil, "pods that run keep the old one"},
	{"/etc/hostname", Reimage, nil, ""},
	{"/etc/systemd/network/", Drain, []string{"systemd-networkd.service"}, ""},
	{"/etc/systemd/logind.conf.d/", Restart, []string{"systemd-logind.service", "kubelet.service"}, ""},
	{"/etc/chrony/", Restart, []string{"chrony.service"}, ""},
	{"/etc/haproxy/", Restart, []string{"haproxy.service"}, "one control plane at a time"},
	{"/etc/keepalived/", Restart, []string{"keepalived.service"}, "all control planes must agree"},
	{"/etc/containerd/certs.d/", File, nil, ""},
	{"/etc/docker/certs.d/", File, nil, ""},
	{"/etc/docker/daemon.json", Drain, []string{"docker.service"}, ""},
	{agentnode.Main.Env(), Restart, []string{"etcd.service"}, "one control plane at a time"},
	{agentnode.Events.Env(), Restart, []string{"etcd-events.service"}, "one control plane at a time"},
	{"/etc/sysctl.d/", Restart, []string{"systemd-sysctl.service"}, "what is no longer set stays as it is"},
	{"/etc/modules-load.d/", Restart, []string{"systemd-modules-load.service"}, "what is no longer listed stays loaded"},
	{"/etc/ssh/", Restart, []string{"ssh.service"}, ""},
	{"/etc/sudoers.d/", File, nil, ""},
	{"/etc/k8snode/apiserver/", Restart, []string{"kube-apiserver"}, "one control plane at a time"},
	{"/etc/k8snode/manifests/", Nothing, nil, "they are applied once; apply them yourself"},
	{"/etc/k8snode/firewall.nft", Restart, []string{"k8snode-firewall.service"}, "reload it: a restart starts the kubelet again"},
	{"/etc/k8snode/report.json", Nothing, nil, "it matters while a node is installed"},
	{"/etc/k8snode/discovery.conf", Nothing, nil, "it matters when the node joins"},
	{
		"/etc/k8snode/kubeadm/init.yaml", Reimage, nil,
		"a control plane takes the configuration of the running cluster: change the ConfigMap kubeadm-config first",
	},
	{"/etc/k8snode/kubeadm/", Reimage, nil, ""},
}

func lookup(file string) reader {
	for _, r := range readers {
		if r.pattern == file || strings.HasSuffix(r.pattern, "/") && strings.HasPrefix(file, r.pattern) {
			return r
		}
	}
	for _, folder := range []string{"/etc/k8snode", "/etc/etcd", "/etc/cni", "/etc/crictl.yaml"} {
		if strings.HasPrefix(file+"/", folder+"/") {
			return reader{file, Reimage, nil, ""}
		}
	}
	return reader{file, File, nil, "it is a file of the cluster document"}
}

// files compares by path.
func files(before, after butane.Document) []Difference {
	old := map[string]butane.File{}
	for _, f := range before.Storage.Files {
		old[f.Path] = f
	}
	var all []Difference
	for _, f := range after.Storage.Files {
		was, existed := old[f.Path]
		delete(old, f.Path)
		if existed && reflect.DeepEqual(was, f) {
			continue
		}
		all = append(all, fileDifference(f.Path, was.Contents.Inline, f.Contents.Inline))
	}
	for gone, was := range old {
		all = append(all, fileDifference(gone, was.Contents.Inline, ""))
	}
	return all
}

func fileDifference(file, before, after string) Difference {
	r := lookup(file)
	d := Difference{What: file, Effect: r.effect, Services: r.services, Note: r.note}
	switch {
	// Routes and name servers change without a break.
	case path.Ext(file) == ".network" && address(before) == address(after):
		d.Effect = Restart
	case file == agentnode.Path && withoutMembers(before) == withoutMembers(after):
		d.Effect, d.Note = File, "etcd reads its members from its own data"
	}
	return d
}

// withoutMembers returns a node's own file without the list of etcd's members.
func withoutMembers(text string) string {
	var c agentnode.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return text
	}
	for _, i := range []agentnode.Instance{agentnode.Main, agentnode.Events} {
		if e := i.Of(c); e != nil {
			e.Members, e.Clients = nil, nil
		}
	}
	out, err := json.Marshal(c)
	if err != nil {
		return text
	}
	return string(out)
}

// address returns what a link must keep for its connections to live on.
func address(network string) string {
	var kept []string
	for line := range strings.Lines(network) {
		for _, key := range []string{"Address=", "MACAddress=", "DHCP=", "Bond=", "VLAN=", "MTUBytes=", "Name="} {
			if strings.HasPrefix(line, key) {
				kept = append(kept, line)
			}
		}
	}
	slices.Sort(kept)
	return strings.Join(kept, "")
}

// units compares by name. One that changes is restarted, if it is no part of
// how a node becomes one.
func units(before, after butane.Document) []Difference {
	old := map[string]butane.Unit{}
	for _, u := range before.Systemd.Units {
		old[u.Name] = u
	}
	var all []Difference
	add := func(name string) {
		d := Difference{What: name, Effect: Restart, Services: []string{name}}
		switch name {
		case "containerd.service", "docker.service", "cri-docker.service", "cri-docker.socket":
			d.Effect = Drain
		case "etcd.service", "etcd-guard.service", "etcd-promote.service",
			"etcd-events.service", "etcd-events-guard.service", "etcd-events-promote.service", "kubelet.service", "k8snode-import.service", "k8snode-bootstrap.service":
			d.Effect, d.Services = Reimage, nil
		}
		all = append(all, d)
	}
	for _, u := range after.Systemd.Units {
		was, existed := old[u.Name]
		delete(old, u.Name)
		if !existed || !reflect.DeepEqual(was, u) {
			add(u.Name)
		}
	}
	for name := range old {
		add(name)
	}
	return all
}

// storage compares what Ignition makes, once.
func storage(before, after butane.Document) []Difference {
	var all []Difference
	if !reflect.DeepEqual(before.Storage.Disks, after.Storage.Disks) || !reflect.DeepEqual(before.Storage.Filesystems, after.Storage.Filesystems) {
		all = append(all, Difference{What: "partitions", Effect: Reimage, Note: "they are made when the node is installed"})
	}
	if !reflect.DeepEqual(before.Passwd, after.Passwd) {
		all = append(all, Difference{What: "sshAuthorizedKeys", Effect: File})
	}
	return all
}
