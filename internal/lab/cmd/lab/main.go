// Command lab starts the cluster of the whole-path test and leaves it
// running, to look at and to break; "make lab" and "make lab-stop" call it.
//
//	lab start -image DIR -k8snode FILE [-kubectl FILE] [-dir DIR]
//	lab stop
//
// It must be run as root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/wholepath"
	"github.com/k8snode/k8snode/internal/qemu"
)

const usage = "usage: lab start -image DIR -k8snode FILE [-kubectl FILE] [-dir DIR]\n       lab stop"

// errUsage is wrapped by errors of the command line.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "lab: %v\n%s\n", err, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no verb", errUsage)
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "start":
		return start(ctx, rest, stdout, stderr)
	case "stop":
		if len(rest) > 0 {
			return fmt.Errorf("%w: stop takes no arguments", errUsage)
		}
		return stop(ctx, stdout)
	default:
		return fmt.Errorf("%w: no verb %q", errUsage, verb)
	}
}

func start(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("lab start", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	opts := wholepath.Options{Now: time.Now, Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	flags.StringVar(&opts.Image, "image", "", "output `folder` of a bake")
	flags.StringVar(&opts.K8snode, "k8snode", "", "the k8snode `program`")
	flags.StringVar(&opts.Kubectl, "kubectl", "", "the kubectl `program`, by default the one in the image")
	flags.StringVar(&opts.Dir, "dir", "", "work `folder`, by default a new temporary one")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 || opts.Image == "" || opts.K8snode == "" {
		return fmt.Errorf("%w: -image and -k8snode are needed", errUsage)
	}
	accelerator, err := qemu.ParseAccelerator(os.Getenv("K8SNODE_ACCEL"))
	if err != nil {
		return fmt.Errorf("reading K8SNODE_ACCEL: %w", err)
	}
	opts.Accelerator = accelerator
	if kept, err := lab.Kept(""); err != nil {
		return err
	} else if len(kept) > 0 {
		return fmt.Errorf("a lab runs already, %q: stop it with \"make lab-stop\"", kept)
	}
	if opts.Dir == "" {
		if opts.Dir, err = os.MkdirTemp("", "k8snode-lab-"); err != nil {
			return err
		}
	}
	cluster, err := wholepath.Run(ctx, opts)
	if err != nil {
		return err
	}
	if err := cluster.Timeline.Write(stdout); err != nil {
		return errors.Join(err, cluster.Close(ctx))
	}
	if err := cluster.Keep(); err != nil {
		return errors.Join(err, cluster.Close(ctx))
	}
	look(cluster, stdout)
	return nil
}

// look says what there is to see.
func look(c *wholepath.Cluster, w io.Writer) {
	fmt.Fprintf(w, "\nThe cluster runs. Its files are in %s\n\n", c.Dir)
	for _, m := range c.Machines {
		fmt.Fprintf(w, "  console of %s:  tail -f %s\n", m.Name(), m.Console())
	}
	fmt.Fprintf(w, "  the server:      tail -f %s\n", filepath.Join(c.Dir, "serve.log"))
	fmt.Fprintf(w, "  kubectl:         %s get nodes\n", c.KubectlCommand())
	fmt.Fprintf(w, "  the network:     ip netns exec %s ping -c 3 10.77.0.11\n", c.Network.Name())
	fmt.Fprintf(w, "  its processes:   cat %s\n", filepath.Join(c.Network.StateDir(), "processes"))
	fmt.Fprintf(w, "  stop it:         make lab-stop\n")
}

func stop(ctx context.Context, stdout io.Writer) error {
	stopped, err := lab.Stop(ctx, "")
	for _, name := range stopped {
		fmt.Fprintf(stdout, "stopped %s\n", name)
	}
	if err == nil && len(stopped) == 0 {
		fmt.Fprintln(stdout, "no lab is running")
	}
	return err
}
