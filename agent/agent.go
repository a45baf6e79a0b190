package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/provision/api"
)

// Exit codes of [Run].
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Env is what the program takes from its surroundings.
type Env struct {
	Stdout, Stderr io.Writer
	// Root is put before every path that is not an argument; "" is the
	// running system.
	Root string
	// Runner finds external programs.
	Runner command.Runner
	// Now is the clock; required.
	Now func() time.Time
	// Rand is the source of secret bytes; required by bootstrap.
	Rand io.Reader
}

// A verb is one command of the program. It defines its flags and returns what
// to run once they are parsed.
type verb struct {
	name, summary string
	define        func(*flag.FlagSet) func(context.Context, Env) error
}

func verbs() []verb {
	return []verb{
		{"install", "write the image to the disk of a machine that was started from the network or from a medium", installVerb},
		{"root", "open the root of the image, wherever it is, and check it", rootVerb},
		{"seed", "decide whether this is a first boot, and hand its config to Ignition", seedVerb},
		{"scrub", "mark the first boot as done, and erase the config that it used", scrubVerb},
		{"disk-links", "name the links of a disk, for udev", diskLinksVerb},
		{"etcd-guard", "decide how etcd may start, and wait until it may", etcdGuardVerb},
		{"etcd-promote", "make this node's member of etcd one that votes", etcdPromoteVerb},
		{"etcd-backup", "save a snapshot of etcd", etcdBackupVerb},
		{"import", "import the baked container images into the runtime", importVerb},
		{"bootstrap", "run kubeadm init or join, once", bootstrapVerb},
		{"renew", "renew the certificates of a control plane that are about to expire", renewVerb},
		{"report", "tell the provisioning server how far this machine is", reportVerb},
	}
}

// Run runs the verb that args name and returns the exit code.
func Run(ctx context.Context, env Env, args []string) int {
	if len(args) == 0 {
		return usage(env, "no verb")
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(env.Stdout, usageText())
		return ExitOK
	}
	for _, v := range verbs() {
		if v.name != args[0] {
			continue
		}
		flags := flag.NewFlagSet("k8snode-agent "+v.name, flag.ContinueOnError)
		flags.SetOutput(env.Stderr)
		run := v.define(flags)
		if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
			return ExitOK
		} else if err != nil {
			return ExitUsage
		}
		if flags.NArg() > 0 {
			return usage(env, fmt.Sprintf("%s takes no argument %q", v.name, flags.Arg(0)))
		}
		err := run(ctx, env)
		var misuse usageError
		if errors.As(err, &misuse) {
			return usage(env, misuse.Error())
		}
		var hold holdError
		if errors.As(err, &hold) {
			fmt.Fprintf(env.Stderr, "k8snode: %v\n", hold.err)
			return ExitFailed
		}
		if err != nil {
			fmt.Fprintf(env.Stderr, "k8snode-agent: error: %v\n", err)
			return ExitFailed
		}
		return ExitOK
	}
	return usage(env, fmt.Sprintf("unknown verb %q", args[0]))
}

// A usageError is the caller's mistake.
type usageError string

func (e usageError) Error() string { return string(e) }

// A holdError ends the boot of the machine: its text is for whoever stands in
// front of it.
type holdError struct{ err error }

func (e holdError) Error() string { return e.err.Error() }
func (e holdError) Unwrap() error { return e.err }

// orHold marks an error as one that ends the boot.
func orHold(err error) error {
	if err == nil {
		return nil
	}
	return holdError{err}
}

func usage(env Env, problem string) int {
	fmt.Fprintf(env.Stderr, "k8snode-agent: error: %s\n%s", problem, usageText())
	return ExitUsage
}

func usageText() string {
	var b strings.Builder
	b.WriteString("usage: k8snode-agent VERB [FLAGS]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  %-12s  %s\n", v.name, v.summary)
	}
	return b.String()
}

func (e Env) path(p string) string { return filepath.Join("/", e.Root, p) }

// log writes warnings and steps, a line of JSON each, beside the lines that are
// for the console.
func (e Env) log() *slog.Logger { return slog.New(slog.NewJSONHandler(e.Stderr, nil)) }

// readSeed reads the file that lets the machine speak to the server: the seed
// of a network boot, or the report file of an installed node.
func (e Env) readSeed(path string) (*client.Client, error) {
	var s api.Seed
	if err := e.readJSON(path, &s); err != nil {
		return nil, err
	}
	return client.New(s, client.Options{})
}

func (e Env) readNode() (node.Config, error) {
	var cfg node.Config
	if err := e.readJSON(node.Path, &cfg); err != nil {
		return cfg, err
	}
	if cfg.Name == "" || cfg.ClusterID == "" || cfg.Role == "" {
		return cfg, fmt.Errorf("reading %s: name, clusterID or role is empty", node.Path)
	}
	return cfg, nil
}

// cmdline reads the words of the kernel command line.
func (e Env) cmdline() (cmdline.Args, error) {
	data, err := os.ReadFile(e.path("/proc/cmdline"))
	if err != nil {
		return cmdline.Args{}, err
	}
	return cmdline.Parse(string(data))
}

func (e Env) readJSON(path string, v any) error {
	data, err := os.ReadFile(e.path(path))
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
