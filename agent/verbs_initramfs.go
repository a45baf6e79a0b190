package agent

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/agent/seed"
	"github.com/k8snode/k8snode/provision/api"
)

// Files of the first boot, on a tmpfs.
const (
	seedOut       = "/run/k8snode/ignition/user.ign"
	firstBoot     = "/run/k8snode/firstboot"
	ignitionCache = "/run/ignition.json"
)

func installVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	patience := flags.Duration("patience", 0, "give up after this time without progress; 0 is never")
	return func(ctx context.Context, env Env) error {
		name := "(unknown)"
		err := func() error {
			c, err := env.readSeed(api.SeedPath)
			if err != nil {
				return err
			}
			name = c.Node()
			return install.Run(ctx, install.Options{
				Client: c, Root: env.Root, Runner: env.Runner,
				Retry:   retry.Policy{Limit: *patience},
				Console: env.Stdout, Log: env.log(),
			})
		}()
		if err != nil {
			printFailure(env.Stdout, name, err)
		}
		return err
	}
}

// printFailure is for whoever stands in front of the machine.
func printFailure(w io.Writer, name string, err error) {
	rule := strings.Repeat("=", 72)
	fmt.Fprintf(w, "\n%s\nk8snode: INSTALLING NODE %s FAILED\n\n%v\n\n"+
		"The machine holds here. Correct the cause, open the install window again,\nand restart the machine.\n%s\n\n",
		rule, name, err, rule)
}

// partitionFlags defines how seed and scrub are told where the seed is.
func partitionFlags(flags *flag.FlagSet) func(Env) (seed.Partition, error) {
	device := flags.String("device", "", "the seed partition's device (default "+seed.ByLabel+")")
	rootGUID := flags.String("root-partuuid", "", "find the seed partition on the disk that has this partition")
	return func(env Env) (seed.Partition, error) {
		switch {
		case *device != "" && *rootGUID != "":
			return seed.Partition{}, usageError("--device and --root-partuuid exclude each other")
		case *rootGUID != "":
			return seed.Locate(env.Root, *rootGUID)
		case *device != "":
			return seed.Partition{Device: *device}, nil
		}
		return seed.Partition{Device: env.path(seed.ByLabel)}, nil
	}
}

func seedVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	out := flags.String("out", seedOut, "where to write the stub")
	marker := flags.String("firstboot", firstBoot, "the file to make when there is a stub")
	partition := partitionFlags(flags)
	return func(_ context.Context, env Env) error {
		p, err := partition(env)
		if err != nil {
			return err
		}
		return seed.Extract(p, *out, *marker)
	}
}

func scrubVerb(flags *flag.FlagSet) func(context.Context, Env) error {
	partition := partitionFlags(flags)
	return func(_ context.Context, env Env) error {
		p, err := partition(env)
		if err != nil {
			return err
		}
		return seed.Scrub(p, env.path(seedOut), env.path(ignitionCache))
	}
}
