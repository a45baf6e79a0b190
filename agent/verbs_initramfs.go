package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/handover"
	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/agent/medium"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/agent/rootdev"
	"github.com/k8snode/k8snode/agent/seed"
	"github.com/k8snode/k8snode/provision/api"
)

func installVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	patience := flags.Duration("patience", 0, "give up after this time without progress; 0 is never")
	return func(ctx context.Context, env Env) error {
		name := "(unknown)"
		write := func(ctx context.Context, c *client.Client) error {
			name = c.Node()
			return install.Run(ctx, install.Options{
				Client: c, Root: env.Root, Runner: env.Runner,
				Retry:   retry.Policy{Limit: *patience},
				Console: env.Stdout, Log: env.log(),
			})
		}
		err := func() error {
			label, err := env.mediumLabel()
			if err != nil {
				return err
			}
			if label != "" {
				return env.installFromMedium(ctx, label, write)
			}
			c, err := env.readSeed(api.SeedPath)
			if err != nil {
				return err
			}
			return write(ctx, c)
		}()
		if err != nil {
			printFailure(env.Stdout, name, err)
		}
		return err
	}
}

// mediumLabel is that of the medium that the machine was started from, empty after a
// network boot.
func (e Env) mediumLabel() (string, error) {
	if _, err := os.Stat(e.path(api.SeedPath)); err == nil {
		return "", nil
	}
	line, err := os.ReadFile(e.path("/proc/cmdline"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return cmdline.MediumLabel(string(line))
}

func (e Env) installFromMedium(ctx context.Context, label string, write func(context.Context, *client.Client) error) error {
	return medium.Run(ctx, medium.Options{
		Label: label, Root: e.Root, Runner: e.Runner, Console: e.Stdout, Install: write,
		Start: func(ctx context.Context, disk *api.DiskSelection) error {
			return handover.Start(ctx, handover.Options{Disk: disk, Root: e.Root, Runner: e.Runner, Now: e.Now(), Console: e.Stdout})
		},
	})
}

// printFailure is for whoever stands in front of the machine.
func printFailure(w io.Writer, name string, err error) {
	rule := strings.Repeat("=", 72)
	fmt.Fprintf(w, "\n%s\nk8snode: INSTALLING NODE %s FAILED\n\n%v\n\n"+
		"The machine holds here. Correct the cause, open the install window again,\nand restart the machine.\n%s\n\n",
		rule, name, err, rule)
}

func rootVerb(*flag.FlagSet) func(context.Context, Env) error {
	return func(ctx context.Context, env Env) error {
		args, err := env.cmdline()
		if err != nil {
			return orHold(err)
		}
		return orHold(rootdev.Open(ctx, rootdev.Options{Args: args, Root: env.Root, Runner: env.Runner, Console: env.Stdout}))
	}
}

func seedVerb(*flag.FlagSet) func(context.Context, Env) error {
	return func(ctx context.Context, env Env) error {
		opts, err := env.seedOptions()
		if err != nil {
			return orHold(err)
		}
		return orHold(seed.Prepare(ctx, opts))
	}
}

func scrubVerb(*flag.FlagSet) func(context.Context, Env) error {
	return func(ctx context.Context, env Env) error {
		opts, err := env.seedOptions()
		if err != nil {
			return orHold(err)
		}
		return orHold(seed.Finish(ctx, opts))
	}
}

func diskLinksVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	name := flags.String("disk", "", "kernel `name` of the disk: sda")
	return func(_ context.Context, env Env) error {
		if *name == "" {
			return usageError("name a disk with -disk")
		}
		disks, err := disk.List(env.Root)
		if err != nil {
			return err
		}
		for _, d := range disks {
			if d.Name == *name {
				fmt.Fprintln(env.Stdout, strings.Join(disk.StableLinks(d), " "))
				return nil
			}
		}
		return fmt.Errorf("there is no disk %s", *name)
	}
}

func (e Env) seedOptions() (seed.Options, error) {
	args, err := e.cmdline()
	return seed.Options{Args: args, Root: e.Root, Runner: e.Runner, Console: e.Stdout}, err
}
