package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// Options of [Run].
type Options struct {
	Config node.Config
	// Root is put before every path; "" is the running system.
	Root string
	// All renews what is not due, too.
	All bool
	// Runner finds kubeadm, kubectl and crictl.
	Runner command.Runner
	// Ask asks the provisioning server, showing the certificate in the files
	// STEM.crt and STEM.key.
	Ask func(ctx context.Context, stem string, r api.RenewRequest) (api.RenewAnswer, error)
	// Lock keeps the other control planes from restarting theirs; nil takes one in
	// the node's own etcd. The function gives it back.
	Lock func(ctx context.Context) (release func(), err error)
	// Ready is how long the API server may take to come back; zero means
	// DefaultReady.
	Ready retry.Policy
	// Now is the clock, Rand the source of signatures; both required.
	Now  func() time.Time
	Rand io.Reader
	// Log gets what is done; nil discards it.
	Log *slog.Logger
}

// DefaultReady is more than an API server takes on a slow machine.
const DefaultReady = 10 * time.Minute

func (o Options) withDefaults() Options {
	if o.Ready.Limit <= 0 {
		o.Ready.Limit = DefaultReady
	}
	if o.Lock == nil {
		o.Lock = o.lock
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

// Run renews what is due. A node that has not been bootstrapped, and a worker, has
// nothing.
func Run(ctx context.Context, opts Options) error {
	opts = opts.withDefaults()
	if opts.Config.Role != node.ControlPlane {
		opts.Log.Info("renew", "step", "none", "reason", "a worker's certificate is the kubelet's to renew")
		return nil
	}
	if _, err := os.Stat(opts.path(node.Done)); errors.Is(err, fs.ErrNotExist) {
		opts.Log.Info("renew", "step", "none", "reason", "the node is not bootstrapped yet")
		return nil
	}
	// One that fails does not keep the other from being done.
	err := errors.Join(renewEtcd(ctx, opts), renewKubeadm(ctx, opts))
	if err != nil {
		return fmt.Errorf("renewing certificates: %w", err)
	}
	return nil
}

// etcdAuthority is that of etcd on the node.
const etcdAuthority = node.EtcdPKIDir + "/ca.crt"

// renewEtcd has the server sign anew what its authority signed.
func renewEtcd(ctx context.Context, opts Options) error {
	var all []Certificate
	for _, name := range node.EtcdCertificates() {
		c, err := readCertificate(name, opts.path(node.CertificateFiles(name)[0]+".crt"), opts.path(etcdAuthority))
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	due := all
	if !opts.All {
		due = Due(all, opts.Now())
	}
	if len(due) == 0 {
		opts.Log.Info("renew", "step", "none", "of", "etcd", "until", earliest(all))
		return nil
	}
	request := api.RenewRequest{Requests: map[string]string{}}
	for _, c := range due {
		csr, err := certificateRequest(opts.path(node.CertificateFiles(c.Name)[0]+".key"), opts.Rand)
		if err != nil {
			return fmt.Errorf("asking for the certificate %s: %w", c.Name, err)
		}
		request.Requests[c.Name] = csr
	}
	// The server's name is the node's; it serves as a client's, too.
	answer, err := opts.Ask(ctx, opts.path(node.CertificateFiles(node.EtcdServer)[0]), request)
	if err != nil {
		return fmt.Errorf("asking the provisioning server for %d certificates of etcd, the first of which ends %s: %w",
			len(due), earliest(due).UTC().Format(time.DateOnly), err)
	}
	authority, err := os.ReadFile(opts.path(etcdAuthority))
	if err != nil {
		return err
	}
	// All are checked before one is written.
	for _, c := range due {
		if err := c.replaceableBy(answer.Certificates[c.Name], authority, opts.Now()); err != nil {
			return fmt.Errorf("taking the certificate %s that the server sent: %w", c.Name, err)
		}
	}
	for _, c := range due {
		if err := replace(opts, c.Name, answer.Certificates[c.Name]); err != nil {
			return fmt.Errorf("replacing the certificate %s: %w", c.Name, err)
		}
		opts.Log.Info("renew", "step", "renewed", "certificate", c.Name, "was until", c.NotAfter)
	}
	return nil
}
