package bootcheck

import (
	"context"
	_ "embed" // for cluster.yaml
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
)

//go:embed cluster.yaml
var clusterDocument []byte

// controlPlane is the name of the cluster's node.
const controlPlane = "cp1"

const (
	controlPlaneMemoryMiB = 6144
	controlPlaneDiskGiB   = 24
	// kubernetesPatience is how much longer kubeadm may take than other waits.
	kubernetesPatience = 3
)

// secondMAC is that of the other card of the bond.
const secondMAC = "52:54:00:6b:01:0b"

// settingsChecks are those of what cluster.yaml has, and other clusters have not.
func settingsChecks() []Check {
	const bonding = "/sys/class/net/bond0/bonding/"
	return []Check{
		{"the bond has two cards", "cat " + bonding + "slaves " + bonding + "mode", contains("lan0", "lan1", "active-backup")},
		{"the bond prefers the second card", "cat " + bonding + "active_slave", equals("lan1")},
		{"the bond has the node's address", "ip -oneline -4 address show dev bond0", contains("10.77.0.11/24")},
		{"the VLAN is on the bond", "ip -details -oneline link show dev storage; ip -oneline -4 address show dev storage",
			contains("storage@bond0:", "802.1Q", "10.78.0.11/24")},
		{"the API server is a service of IPVS", "ipvsadm --list --numeric --tcp-service 10.96.0.1:443", contains("10.96.0.1:443", "10.77.0.11:6443")},
		{"the bond goes on without its card", "ip link set lan1 down && sleep 2 && cat " + bonding + "active_slave && ip link set lan1 up", equals("lan0")},
	}
}

// kubernetes boots the disk image with the config that "k8snode render" writes
// for a control plane, waits until it is a node, asks everything, and reboots.
func kubernetes(ctx context.Context, s *story) error {
	raw, err := s.opts.artifact(images.RawFile)
	if err != nil {
		return err
	}
	config, err := s.writeConfig(s.render(ctx))
	if err != nil {
		return err
	}
	m, err := s.newMachine(ctx, lab.QEMUOptions{
		Name: controlPlane, MemoryMiB: controlPlaneMemoryMiB, Boot: []qemu.Device{qemu.DeviceDisk},
		Image: raw, DiskGiB: controlPlaneDiskGiB, Config: config, MoreMACs: []string{secondMAC},
	})
	if err != nil {
		return err
	}
	if err := m.powerOn(ctx); err != nil {
		return err
	}
	id, err := m.up(ctx, "")
	if err != nil {
		return err
	}
	if err := m.bootstrapped(ctx); err != nil {
		return err
	}
	if err := m.measureKubelet(ctx); err != nil {
		return err
	}
	if err := m.podsRun(ctx); err != nil {
		return err
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	checks := append(s.diskChecks(controlPlane), commandLine(s.manifest))
	checks = append(checks, KubernetesChecks(s.manifest, controlPlane)...)
	checks = append(checks, settingsChecks()...)
	checks = append(checks, firewallChecks("10.77.0.1:8080")...)
	if err := m.verify(ctx, append(checks, DockerChecks()...)); err != nil {
		return err
	}
	if err := m.reboot(ctx, id); err != nil {
		return err
	}
	return m.verify(ctx, []Check{{"the kubelet and etcd run again", "systemctl is-active kubelet etcd", equals("active\nactive")}})
}

// render makes the node's config with the program, as an operator does.
func (s *story) render(ctx context.Context) ([]byte, error) {
	if s.opts.K8snode == "" {
		return nil, errors.New("the k8snode program is not given")
	}
	dir := filepath.Join(s.opts.Dir, "cluster")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	// The secrets protect nothing but this run.
	files := map[string][]byte{"cluster.yaml": clusterDocument, "passphrase": []byte("correct horse battery staple\n")}
	for name, content := range files {
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	secrets := []string{"--passphrase-file", in("passphrase")}
	if err := run(ctx, s.opts.K8snode, append([]string{"secrets", "init", "--out", in("secrets.age")}, secrets...)...); err != nil {
		return nil, err
	}
	if err := run(ctx, s.opts.K8snode, append([]string{
		"render", "--cluster", in("cluster.yaml"), "--secrets", in("secrets.age"), "--image", s.opts.Image, "--out", in("rendered"), "--new-cluster",
	}, secrets...)...); err != nil {
		return nil, err
	}
	rendered, err := os.ReadFile(in(filepath.Join("rendered", controlPlane+".ign")))
	if err != nil {
		return nil, err
	}
	return nodeConfig(rendered)
}

// bootstrapped waits until kubeadm and what follows it are done. The unit that
// runs it tries again when it fails; here that is the end. The shell does most
// of the waiting: every program costs an emulated machine time that kubeadm
// needs.
func (m *machine) bootstrapped(ctx context.Context) error {
	const command = `i=0
while [ $i -lt 15 ] && ! [ -e ` + node.Done + ` ]; do sleep 2; i=$((i + 1)); done
[ -e ` + node.Done + ` ] && echo done
systemctl show --property NRestarts --value k8snode-bootstrap.service`
	return m.poll(ctx, "kubeadm to be done", command, func(result lab.Result) (seen string, done bool, err error) {
		switch seen = strings.TrimSpace(result.Stdout); {
		case strings.HasPrefix(seen, "done\n"):
			return seen, true, nil
		case seen != "" && seen != "0":
			return seen, false, errors.New("k8snode-bootstrap.service failed: see the journal")
		}
		return seen, false, nil
	})
}

// podsRun waits until every pod runs.
func (m *machine) podsRun(ctx context.Context) error {
	return m.poll(ctx, "every pod to run", kubectl+"get pods -A -o json", func(result lab.Result) (seen string, done bool, err error) {
		if result.Code != 0 {
			return strings.TrimSpace(result.Stderr), false, nil // An API server may still restart.
		}
		if err := judgePods(result.Stdout); err != nil {
			return err.Error(), false, nil
		}
		return "", true, nil
	})
}

// pollEvery is how long the guest is left alone between two questions.
const pollEvery = 5 * time.Second

// poll repeats a command until it is judged to be done.
func (m *machine) poll(ctx context.Context, what, command string, judge func(lab.Result) (seen string, done bool, err error)) error {
	wait, stop := m.watch(ctx, kubernetesPatience*m.story.opts.Patience)
	defer stop()
	last := ""
	for {
		result, err := m.Guest().Run(wait, command)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, err, last)
		}
		seen, done, err := judge(result)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if done {
			m.story.log("waited for "+what, m)
			return nil
		}
		if seen != last {
			m.story.log("waiting for "+what, m, "seen", seen)
			last = seen
		}
		pause(wait, pollEvery)
	}
}

// measureKubelet finds out how long after the power button the kubelet
// started: the guest's clock says how long ago, and ours when it was asked.
func (m *machine) measureKubelet(ctx context.Context) error {
	const command = "systemctl show --property ActiveEnterTimestampMonotonic --value kubelet.service && cut -d ' ' -f 1 /proc/uptime"
	result, err := m.Guest().Run(ctx, command)
	if err != nil {
		return err
	}
	ago, err := elapsed(result.Stdout)
	if err != nil {
		return fmt.Errorf("measuring the start of the kubelet: %w", err)
	}
	now := m.story.opts.Now().Sub(m.poweredOn)
	m.story.measured = append(m.story.measured,
		Measurement{"power on to kubelet", now - ago},
		Measurement{"power on to kubeadm done", now},
	)
	return nil
}

// elapsed reads a moment in microseconds since the start of the kernel and, on
// the next line, the seconds since then.
func elapsed(text string) (time.Duration, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return 0, fmt.Errorf("got %q, want two numbers", text)
	}
	at, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, err
	}
	if at == 0 {
		return 0, errors.New("it has not started")
	}
	up, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(at)*time.Microsecond, nil
}
