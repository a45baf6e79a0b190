package renew

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
)

const (
	kubernetesDir = "/etc/kubernetes"
	adminConf     = kubernetesDir + "/admin.conf"
	apiServerPort = "6443"

	// lockKey has the name of the control plane that restarts its pods.
	lockKey = "/k8snode/renew/lock"
	lockTTL = time.Minute
	// lockPause is how often a control plane asks whether it is its turn, and
	// lockLimit how long.
	lockPause = 10 * time.Second
	lockLimit = time.Hour
)

// controlPlanePods are the pods that read what kubeadm renews; not all of it
// again, so they are started anew.
func controlPlanePods() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
}

// renewKubeadm has kubeadm renew what it made, and starts the control plane of this
// node again.
func renewKubeadm(ctx context.Context, opts Options) error {
	var all []Certificate
	pki := func(name string) string { return opts.path(filepath.Join(node.KubePKIDir, name+".crt")) }
	for name, authority := range map[string]string{"apiserver": "ca", "apiserver-kubelet-client": "ca", "front-proxy-client": "front-proxy-ca"} {
		c, err := readCertificate(name, pki(name), pki(authority))
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	for _, name := range []string{"admin", "controller-manager", "scheduler"} {
		c, err := readKubeconfig(name, opts.path(filepath.Join(kubernetesDir, name+".conf")), pki("ca"))
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if !opts.All && len(Due(all, opts.Now())) == 0 {
		opts.Log.Info("renew", "step", "none", "of", "kubeadm", "until", earliest(all))
		return nil
	}
	release, err := opts.Lock(ctx)
	if err != nil {
		return fmt.Errorf("waiting for this control plane's turn: %w", err)
	}
	defer release()
	// With the node's own document: the one in the cluster may be out of reach,
	// and kubeadm would take its defaults.
	if err := opts.Runner.Run(ctx, nil, "kubeadm", "certs", "renew", "all", "--config", opts.path(node.InitConfig)); err != nil {
		return err
	}
	for _, pod := range controlPlanePods() {
		if err := restart(ctx, opts, pod); err != nil {
			return fmt.Errorf("starting %s again: %w", pod, err)
		}
	}
	if err := waitReady(ctx, opts); err != nil {
		return fmt.Errorf("waiting for the API server: %w", err)
	}
	opts.Log.Info("renew", "step", "renewed", "of", "kubeadm", "was until", earliest(all))
	return nil
}

// restart stops a container of a static pod; the kubelet starts it again.
func restart(ctx context.Context, opts Options, pod string) error {
	out, err := opts.Runner.Output(ctx, "crictl", "ps", "--state", "running", "--name", "^"+pod+"$", "--quiet")
	if err != nil {
		return err
	}
	ids := strings.Fields(string(out))
	if len(ids) == 0 {
		return nil // It starts anyway.
	}
	return opts.Runner.Run(ctx, nil, "crictl", append([]string{"stop", "--timeout", "30"}, ids...)...)
}

func waitReady(ctx context.Context, opts Options) error {
	server := "https://" + net.JoinHostPort(opts.Config.Address, apiServerPort)
	return retry.Do(ctx, opts.Ready, func(ctx context.Context) error {
		return opts.Runner.Run(ctx, nil, "kubectl", "--kubeconfig", opts.path(adminConf), "--server", server,
			"--request-timeout", "10s", "get", "--raw", "/readyz")
	})
}

// lock waits until no other control plane restarts its pods.
func (o Options) lock(ctx context.Context) (func(), error) {
	pki := o.path(node.PKIDir)
	dial := etcd.NodeFiles(pki, node.APIServerEtcdClient)
	dial.CA = filepath.Join(pki, "etcd/ca.crt")
	dial.Endpoints = []string{node.Main.ClientURL(o.Config.Address)}
	client, err := etcd.Dial(dial)
	if err != nil {
		return nil, err
	}
	var lock *etcd.Lock
	err = retry.Do(ctx, retry.Policy{Limit: lockLimit, Max: lockPause}, func(ctx context.Context) error {
		var holder string
		lock, holder, err = client.Lock(ctx, lockKey, o.Config.Name, lockTTL)
		if errors.Is(err, etcd.ErrHeld) {
			o.Log.Info("renew", "step", "wait", "for", holder)
		}
		return err
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	return func() {
		lock.Release()
		client.Close()
	}, nil
}
