package butane

import (
	"fmt"

	"github.com/k8snode/k8snode/butane/cluster"
)

// restart keeps a daemon of the distribution running, whatever its own unit
// says.
const restart = "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestart=always\nRestartSec=2\n"

// units lists the units that run on the node. Those without contents are the
// image's; its presets enable what does not depend on the node, and disable all
// else.
func units(n node) ([]Unit, error) {
	var all []Unit
	enable := func(names ...string) {
		for _, name := range names {
			all = append(all, Unit{Name: name, Enabled: true})
		}
	}
	if n.controlPlane() {
		enable("etcd-guard.service", "etcd.service", "etcd-promote.service", "k8snode-renew.timer")
		if n.spec.Etcd.Events.Enabled {
			enable("etcd-events-guard.service", "etcd-events.service", "etcd-events-promote.service")
		}
	}
	if n.controlPlane() && n.spec.Etcd.Backup.Schedule != "" {
		backup, err := backupUnits(n.spec.Etcd.Backup)
		if err != nil {
			return nil, err
		}
		all = append(all, backup...)
	}
	if n.controlPlane() && n.Cluster.Proxied() {
		for _, name := range []string{"haproxy.service", "keepalived.service"} {
			all = append(all, Unit{Name: name, Enabled: true, Dropins: []Dropin{{"10-k8snode.conf", restart}}})
		}
	}
	enable("containerd.service")
	if n.docker() {
		enable("docker.service", "cri-docker.socket", "cri-docker.service")
	}
	firewall, err := firewallUnits(n)
	if err != nil {
		return nil, err
	}
	all = append(all, firewall...)
	enable("k8snode-import.service", "k8snode-bootstrap.service", "kubelet.service")
	if len(n.spec.Network.NTP) > 0 {
		// time-sync.target waits for the first update, three minutes at most;
		// a network without a server would lose them at every boot.
		enable("chrony-wait.service")
	}
	if len(n.spec.SSHAuthorizedKeys) > 0 {
		enable("ssh.service")
	}
	mounts, err := mountUnits(n)
	if err != nil {
		return nil, err
	}
	return merge(sliced(append(all, mounts...), n), n)
}

// merge lays the cluster's own units over the others: it may add a drop-in to
// one of ours, and not replace its text.
func merge(all []Unit, n node) ([]Unit, error) {
	at := map[string]int{}
	for i, u := range all {
		at[u.Name] = i
	}
	for _, own := range n.spec.System.Units {
		if !n.has(own.Roles) {
			continue
		}
		i, ours := at[own.Name]
		if !ours {
			all = append(all, Unit{Name: own.Name, Enabled: own.Enabled, Contents: own.Contents, Dropins: dropins(own.Dropins)})
			continue
		}
		if own.Contents != "" {
			return nil, fmt.Errorf("spec.system.units has contents for %s, which is k8snode's own: use a drop-in, or another name", own.Name)
		}
		all[i].Dropins = append(all[i].Dropins, dropins(own.Dropins)...)
	}
	return all, nil
}

func dropins(from []cluster.Dropin) []Dropin {
	var to []Dropin
	for _, d := range from {
		to = append(to, Dropin(d))
	}
	return to
}

// backupUnits save snapshots of etcd: the timer is enabled, and starts the
// service.
func backupUnits(b cluster.EtcdBackup) ([]Unit, error) {
	service, err := execute("etcd-backup.service.tmpl", b)
	if err != nil {
		return nil, err
	}
	timer, err := execute("etcd-backup.timer.tmpl", b)
	if err != nil {
		return nil, err
	}
	return []Unit{
		{Name: "etcd-backup.service", Contents: service},
		{Name: "etcd-backup.timer", Enabled: true, Contents: timer},
	}, nil
}
