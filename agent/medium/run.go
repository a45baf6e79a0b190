package medium

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/internal/embedarea"
	"github.com/k8snode/k8snode/provision/api"
)

// Defaults of Options.
const (
	// DefaultWait is how long the medium may take to appear: a virtual one is slow.
	DefaultWait = 2 * time.Minute
	// DefaultPoll is the time between two questions.
	DefaultPoll = 10 * time.Second
	// DefaultPatience is how long a server may not answer.
	DefaultPatience = 2 * time.Minute
	// DefaultRemind is how often the console says the same again.
	DefaultRemind = time.Minute

	devicePoll = 200 * time.Millisecond
)

// Options of [Run].
type Options struct {
	// Label is that of the medium's file system; required.
	Label string
	// Root is the folder that holds sys, dev and run; "" is the running system.
	Root string
	// Runner finds mount, umount and the script that brings up the network.
	Runner command.Runner
	// Install installs the machine; required.
	Install func(ctx context.Context, c *client.Client) error
	// Start starts the image on the disk of the node, or on the only one that holds an
	// image when the node's is not known; required. When it returns nil, the machine is
	// to be restarted.
	Start func(ctx context.Context, disk *api.DiskSelection) error
	// Client tunes requests.
	Client client.Options
	// Wait, Poll, Patience and Remind are the defaults unless set.
	Wait, Poll, Patience, Remind time.Duration
	// Console gets plain lines for whoever watches; nil discards them.
	Console io.Writer
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&o.Wait, DefaultWait}, {&o.Poll, DefaultPoll}, {&o.Patience, DefaultPatience}, {&o.Remind, DefaultRemind}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	return o
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

// Run installs this machine when its server says so, and starts its disk otherwise.
// When it returns nil, the caller restarts the machine; otherwise the machine shall
// hold.
func Run(ctx context.Context, opts Options) error {
	o := opts.withDefaults()
	doc, err := o.readArea(ctx)
	if err != nil {
		return err
	}
	facts := Facts(o.Root)
	if err := checkMachine(doc, facts); err != nil {
		return err
	}
	asker, err := client.NewAsker(doc.Seed, o.Client)
	if err != nil {
		return err
	}
	in := &installer{Options: o, doc: doc, facts: facts, asker: asker}
	for err := o.network(ctx, doc.Network); err != nil; err = o.network(ctx, doc.Network) {
		startErr := in.Start(ctx, nil)
		if startErr == nil {
			in.say("%v; starting the disk", err)
			return nil
		}
		in.say("%v; %v; trying again", err, startErr)
		if in.pause(ctx); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return in.loop(ctx)
}

// checkMachine refuses a machine that the medium is not for.
func checkMachine(doc embedarea.Document, facts url.Values) error {
	have := facts[api.KeyMAC]
	if len(doc.MACs) == 0 || slices.ContainsFunc(doc.MACs, func(mac string) bool {
		return slices.ContainsFunc(have, func(own string) bool { return strings.EqualFold(own, mac) })
	}) {
		return nil
	}
	return fmt.Errorf("this medium is for node %s, whose machine has the interface %s; this one has %s: "+
		"take the medium to the other machine, or correct the cluster document and make the ISO again",
		doc.Seed.Node, strings.Join(doc.MACs, ", "), cmp.Or(strings.Join(have, ", "), "none"))
}

// An installer asks one server.
type installer struct {
	Options
	doc   embedarea.Document
	facts url.Values
	asker *client.Asker

	// silent is how long the server has not answered.
	silent time.Duration
	// said is what was said last, and for how long nothing else.
	said  string
	since time.Duration
}

// say writes a line that is not what was said last, or was long ago.
func (in *installer) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == in.said && in.since < in.Remind {
		return
	}
	in.said, in.since = text, 0
	fmt.Fprintf(in.Console, "k8snode: %s\n", text)
}

// loop asks until there is something to do.
func (in *installer) loop(ctx context.Context) error {
	in.say("asking %s what to do with this machine", in.doc.Seed.Server)
	for ; ctx.Err() == nil; in.pause(ctx) {
		answer, err := in.asker.Boot(ctx, in.facts)
		if err != nil {
			if in.unanswered(ctx, err) {
				return nil
			}
			continue
		}
		in.silent = 0
		if own := in.doc.Seed.Node; own != "" && answer.Node != "" && answer.Node != own {
			return fmt.Errorf("this medium is for node %s, and the server knows this machine as %s", own, answer.Node)
		}
		switch answer.Action {
		case api.ActionInstall:
			c, err := in.client(ctx)
			if err != nil {
				in.say("%v; asking again", err)
				continue
			}
			return in.install(ctx, c, answer)
		case api.ActionLocal:
			err := in.Start(ctx, &answer.Disk)
			if err == nil {
				fmt.Fprintf(in.Console, "k8snode: node %s: nothing to install: %s; starting its disk\n", answer.Node, answer.Reason)
				return nil
			}
			in.say("node %s: nothing to install: %s; %v; waiting; %s", answer.Node, answer.Reason, err, answer.Remedy)
		default:
			in.say("%s: %s; waiting; %s", in.name(answer), answer.Reason, answer.Remedy)
		}
	}
	return context.Cause(ctx)
}

func (in *installer) pause(ctx context.Context) {
	retry.Sleep(ctx, in.Poll)
	in.since += in.Poll
}

// name is what an operator knows the machine by.
func (in *installer) name(answer api.BootAnswer) string {
	if answer.Node != "" {
		return "node " + answer.Node
	}
	return "machine " + strings.Join(in.facts[api.KeyMAC], " ")
}

// unanswered reports whether the disk was started because the server is silent.
func (in *installer) unanswered(ctx context.Context, err error) bool {
	if in.silent += in.Poll; in.silent < in.Patience {
		in.say("%v; asking again", err)
		return false
	}
	startErr := in.Start(ctx, nil)
	if startErr != nil {
		in.say("%v; %v; asking again", err, startErr)
		return false
	}
	fmt.Fprintf(in.Console, "k8snode: the server has not answered for %v; starting the disk\n", in.silent)
	return true
}

// client has the token of the medium, or one that the server gives.
func (in *installer) client(ctx context.Context) (*client.Client, error) {
	if in.doc.Seed.Token != "" {
		return client.New(in.doc.Seed, in.Client)
	}
	seed, err := in.asker.Seed(ctx, in.facts)
	if err != nil {
		return nil, err
	}
	return client.New(seed, in.Client)
}

func (in *installer) install(ctx context.Context, c *client.Client, answer api.BootAnswer) error {
	err := in.Install(ctx, c)
	if refused := (*client.StatusError)(nil); in.doc.Seed.Token != "" && errors.As(err, &refused) && refused.Code == http.StatusForbidden {
		return fmt.Errorf("%w: the token of this medium is not good, or no longer: make the ISO again, in this window: k8snode iso --node %s", err, in.doc.Seed.Node)
	}
	if err != nil {
		return err
	}
	if err := in.Start(ctx, &answer.Disk); err != nil {
		in.say("restarting from whatever the firmware starts first: %v", err)
	}
	return nil
}
