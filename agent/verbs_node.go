package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/k8snode/k8snode/agent/bootstrap"
	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/etcdbackup"
	"github.com/k8snode/k8snode/agent/etcdguard"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/preload"
	"github.com/k8snode/k8snode/agent/renew"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// reportLimit is how long the verb report tries.
const reportLimit = 2 * time.Minute

// instanceFlag says which etcd a verb is about.
func instanceFlag(flags *flag.FlagSet) func() (node.Instance, error) {
	name := flags.String("instance", string(node.Main), "`name` of the etcd: main or events")
	return func() (node.Instance, error) {
		if i := node.Instance(*name); i == node.Main || i == node.Events {
			return i, nil
		}
		return "", usageError(fmt.Sprintf("-instance is %q, want main or events", *name))
	}
}

func etcdGuardVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	named := instanceFlag(flags)
	return func(ctx context.Context, env Env) error {
		instance, err := named()
		if err != nil {
			return err
		}
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		decision, err := etcdguard.Run(ctx, etcdguard.Options{
			Config: cfg, Instance: instance, Root: env.Root, Runner: env.Runner, Now: env.Now, Log: env.log(),
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "k8snode: etcd starts with initial-cluster-state %s: %s\n", decision.State, decision.Reason)
		return nil
	}
}

func etcdPromoteVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	named := instanceFlag(flags)
	return func(ctx context.Context, env Env) error {
		instance, err := named()
		if err != nil {
			return err
		}
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		return etcdguard.Promote(ctx, etcdguard.Options{Config: cfg, Instance: instance, Root: env.Root, Now: env.Now, Log: env.log()})
	}
}

func etcdBackupVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	dir := flags.String("dir", "", "`folder` of the snapshots")
	keep := flags.Int("keep", etcdbackup.DefaultKeep, "`number` of snapshots that stay")
	return func(ctx context.Context, env Env) error {
		if *dir == "" || *keep < 1 {
			return errors.New("name a folder with -dir, and a number of at least 1 with -keep")
		}
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		_, err = etcdbackup.Run(ctx, etcdbackup.Options{Config: cfg, Root: env.Root, Dir: *dir, Keep: *keep, Now: env.Now, Log: env.log()})
		return err
	}
}

func importVerb(*flag.FlagSet) func(context.Context, Env) error {
	return func(ctx context.Context, env Env) error {
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		return preload.Run(ctx, preload.Options{Role: cfg.Role, Runtime: cfg.Runtime, Root: env.Root, Runner: env.Runner, Out: env.Stdout})
	}
}

func bootstrapVerb(*flag.FlagSet) func(context.Context, Env) error {
	return func(ctx context.Context, env Env) error {
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		opts := bootstrap.Options{
			Config: cfg, Root: env.Root, Runner: env.Runner,
			Now: env.Now, Rand: env.Rand, Out: env.Stdout, Log: env.log(),
		}
		// A node without a server to report to is a node all the same.
		switch c, err := env.readSeed(api.ReportPath); {
		case err == nil:
			opts.Report = c.Report
		case !errors.Is(err, fs.ErrNotExist):
			env.log().Warn("reports are off", "error", err)
		}
		return bootstrap.Run(ctx, opts)
	}
}

func renewVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	all := flags.Bool("all", false, "renew what is not due, too")
	return func(ctx context.Context, env Env) error {
		cfg, err := env.readNode()
		if err != nil {
			return err
		}
		return renew.Run(ctx, renew.Options{
			Config: cfg, Root: env.Root, All: *all, Runner: env.Runner, Ask: env.askForCertificates, Now: env.Now, Rand: env.Rand, Log: env.log(),
		})
	}
}

// askForCertificates shows the server the certificate in the files STEM.crt and
// STEM.key.
func (e Env) askForCertificates(ctx context.Context, stem string, request api.RenewRequest) (answer api.RenewAnswer, err error) {
	own, err := tls.LoadX509KeyPair(stem+".crt", stem+".key")
	if err != nil {
		return answer, err
	}
	var server api.Seed
	if err := e.readJSON(api.ReportPath, &server); err != nil {
		return answer, err
	}
	c, err := client.New(server, client.Options{Certificate: &own, Now: e.Now})
	if err != nil {
		return answer, err
	}
	err = retry.Do(ctx, retry.Policy{Limit: reportLimit}, func(ctx context.Context) (err error) {
		answer, err = c.Renew(ctx, request)
		return err
	})
	return answer, err
}

func reportVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	phase := flags.String("phase", "", "bootstrapping, ready or failed")
	step := flags.String("step", "", "a finer name within the phase")
	message := flags.String("message", "", "text for the operator, without secrets")
	return func(ctx context.Context, env Env) error {
		known := []string{string(api.PhaseBootstrapping), string(api.PhaseReady), string(api.PhaseFailed)}
		if !slices.Contains(known, *phase) {
			return usageError(fmt.Sprintf("--phase is %q, want one of %q", *phase, known))
		}
		c, err := env.readSeed(api.ReportPath)
		if err != nil {
			return err
		}
		report := api.Report{Phase: api.Phase(*phase), Step: *step, Message: *message}
		return retry.Do(ctx, retry.Policy{Limit: reportLimit}, func(ctx context.Context) error {
			return c.Report(ctx, report)
		})
	}
}
