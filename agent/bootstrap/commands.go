package bootstrap

import (
	"context"
	"fmt"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// Paths of kubeadm.
const (
	adminConf      = "/etc/kubernetes/admin.conf"
	superAdminConf = "/etc/kubernetes/super-admin.conf"
	// bootstrapConf is the credential to join as the kubelet reads it. kubeadm
	// removes it, unless it is killed.
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
)

// usedUp are the secrets that a node does not need any more, whichever way it
// became one: a control plane may have tried to join before it ran init.
func usedUp() []string { return []string{superAdminConf, bootstrapConf, node.Discovery} }

// resetArgs leaves etcd alone: it is not kubeadm's.
func resetArgs() []string {
	return []string{"reset", "--force", "--skip-phases", "remove-etcd-member"}
}

func kubeadmArgs(action Action) []string {
	if action == ActionInit {
		return []string{"init", "--config", node.InitConfig}
	}
	return []string{"join", "--config", node.JoinConfig}
}

func applyArgs(kubeconfig, dir string) []string {
	return []string{"--kubeconfig", kubeconfig, "apply", "-f", dir}
}

// joinable is what kubeadm init makes last, of what a node that joins reads: once
// it may, everything else that a join needs is there. Without kube-proxy that is
// the kubelet's configuration; the rights to ask for a certificate follow within
// seconds, and the kubelet asks again.
func joinable(cfg node.Config) string {
	const maps = "/api/v1/namespaces/kube-system/configmaps/"
	if cfg.NoProxy {
		return maps + "kubelet-config"
	}
	return maps + "kube-proxy"
}

// readyArgs ask the control plane with the credential of the join.
func readyArgs(kubeconfig, path string) []string {
	return []string{"--kubeconfig", kubeconfig, "--request-timeout", "10s", "get", "--raw", path}
}

// waitForControlPlane returns when a join can succeed. kubeadm itself gives up
// where a cluster answers that is not complete yet.
func (b *bootstrapper) waitForControlPlane(ctx context.Context) error {
	b.report(ctx, api.Report{Phase: api.PhaseBootstrapping, Step: "wait"})
	policy := b.opts.Retry
	policy.Limit = b.opts.JoinWait
	if policy.First == 0 {
		// The wait is minutes long, and another control plane may be starting
		// on the same overcommitted host.
		policy.First, policy.Max = 10*time.Second, 30*time.Second
	}
	said := ""
	policy.Notify = func(err error, _ time.Duration) {
		if why := Redact(err.Error()); why != said {
			b.opts.Log.Info("waiting for the control plane", "endpoint", b.opts.Config.Endpoint, "why", why)
			said = why
		}
	}
	err := retry.Do(ctx, policy, func(ctx context.Context) error {
		_, err := b.opts.Runner.Output(ctx, "kubectl", readyArgs(b.path(node.Discovery), joinable(b.opts.Config))...)
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for the control plane: %w", err)
	}
	return nil
}
