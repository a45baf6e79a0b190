package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/internal/atomicfile"
	"github.com/k8snode/k8snode/provision/api"
)

// Defaults of Options.
const (
	DefaultEtcdWait    = 5 * time.Minute
	DefaultClockWait   = time.Minute
	DefaultReportLimit = 30 * time.Second
	DefaultJoinWait    = time.Hour
	DefaultElectPause  = 5 * time.Second

	clockPoll = 2 * time.Second
	// maxMessage bounds the message of a failure.
	maxMessage = 3 << 10
)

// Options of [Run].
type Options struct {
	Config node.Config
	// Root is put before every path; "" is the running system.
	Root string
	// Runner finds etcdctl, kubeadm and kubectl.
	Runner command.Runner
	// Report sends one report; nil sends none. Its errors are logged only.
	Report func(context.Context, api.Report) error
	// ReportLimit is how long one report is tried; zero means
	// DefaultReportLimit.
	ReportLimit time.Duration
	// Retry is for etcd; a Limit of zero means DefaultEtcdWait.
	Retry retry.Policy
	// JoinWait is how long a worker waits for the control plane; zero means
	// DefaultJoinWait.
	JoinWait time.Duration
	// ClockWait is how long to wait for a clock that is behind the node's
	// certificates; zero means DefaultClockWait, a negative one does not wait.
	ClockWait time.Duration
	// ElectPause is how often a control plane asks whether the other one is
	// done; zero means DefaultElectPause.
	ElectPause time.Duration
	// Connect prepares to ask etcd; nil asks the node's own member.
	Connect func(Options) (Store, error)
	// Now is the clock; required.
	Now func() time.Time
	// Rand is the source of keys; required on control planes.
	Rand io.Reader
	// Sync writes all file systems to their disks; nil asks the kernel.
	Sync func()
	// Out gets the output of kubeadm, line by line; nil discards it.
	Out io.Writer
	// Log gets the steps; nil discards them.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.ReportLimit <= 0 {
		o.ReportLimit = DefaultReportLimit
	}
	if o.Retry.Limit <= 0 {
		o.Retry.Limit = DefaultEtcdWait
	}
	if o.JoinWait <= 0 {
		o.JoinWait = DefaultJoinWait
	}
	if o.ElectPause <= 0 {
		o.ElectPause = DefaultElectPause
	}
	if o.Connect == nil {
		o.Connect = connect
	}
	if o.ClockWait == 0 {
		o.ClockWait = DefaultClockWait
	}
	if o.Sync == nil {
		o.Sync = unix.Sync
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Run makes the machine a node, or returns why it is none yet. On a machine
// that is done it only reports so.
func Run(ctx context.Context, opts Options) error {
	b := &bootstrapper{opts: opts.withDefaults()}
	facts, err := b.facts()
	if err != nil {
		return fmt.Errorf("bootstrapping node: %w", err)
	}
	if facts.Done {
		b.report(ctx, api.Report{Phase: api.PhaseReady})
		return nil
	}
	b.report(ctx, api.Report{Phase: api.PhaseBootstrapping})
	if err := b.bootstrap(ctx, facts); err != nil {
		message := Redact(err.Error())
		if len(message) > maxMessage {
			// The end says what went wrong.
			message = strings.ToValidUTF8(message[len(message)-maxMessage:], "")
		}
		b.report(context.WithoutCancel(ctx), api.Report{Phase: api.PhaseFailed, Step: string(b.action), Message: message})
		// Text only: what err wraps would carry the output before redaction.
		return fmt.Errorf("bootstrapping node: %s", Redact(err.Error()))
	}
	b.report(ctx, api.Report{Phase: api.PhaseReady})
	return nil
}

type bootstrapper struct {
	opts   Options
	action Action
	// store is nil on workers.
	store Store
}

// path is where an absolute path of a node is below Root.
func (b *bootstrapper) path(p string) string { return filepath.Join("/", b.opts.Root, p) }

func (b *bootstrapper) report(ctx context.Context, report api.Report) {
	if b.opts.Report == nil {
		return
	}
	err := retry.Do(ctx, retry.Policy{Limit: b.opts.ReportLimit}, func(ctx context.Context) error {
		return b.opts.Report(ctx, report)
	})
	if err != nil {
		b.opts.Log.Warn("report not delivered", "phase", string(report.Phase), "error", err)
	}
}

// facts reads what the machine remembers; etcd is asked later.
func (b *bootstrapper) facts() (Facts, error) {
	var f Facts
	switch _, err := os.Stat(b.path(node.Done)); {
	case err == nil:
		f.Done = true
	case !errors.Is(err, os.ErrNotExist):
		return f, err
	}
	record, err := b.readRecord()
	f.Record = record
	return f, err
}

func (b *bootstrapper) bootstrap(ctx context.Context, facts Facts) error {
	b.waitForClock(ctx)
	if b.opts.Config.Role == node.ControlPlane {
		store, err := b.opts.Connect(b.opts)
		if err != nil {
			return err
		}
		defer store.Close()
		b.store = store
	}
	if NeedsEtcd(b.opts.Config, facts) {
		initialised, lock, err := b.elect(ctx)
		if err != nil {
			return err
		}
		facts.Initialised = initialised
		if lock != nil {
			defer lock.Release()
			// Whoever lost the lock must not go on: another node may begin.
			var stop context.CancelFunc
			ctx, stop = whileHeld(ctx, lock)
			defer stop()
		}
	}
	action, err := Decide(b.opts.Config, facts)
	if err != nil {
		return err
	}
	b.action = action
	b.opts.Log.Info("bootstrap", "step", string(action))
	if action == ActionInit || action == ActionJoin {
		if err := b.kubeadm(ctx, action); err != nil {
			return err
		}
		facts.Record = &Record{Action: action}
	}
	return b.finish(ctx, facts.Record.Action)
}

// errLockLost is why kubeadm was stopped.
var errLockLost = errors.New("the lock of kubeadm init is lost: etcd did not answer in time")

// whileHeld ends the context when the lock is lost.
func whileHeld(ctx context.Context, lock Lock) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-lock.Lost():
			cancel(errLockLost)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// kubeadm runs one attempt from a clean state.
func (b *bootstrapper) kubeadm(ctx context.Context, action Action) error {
	leftovers, err := b.leftovers()
	if err != nil {
		return err
	}
	out := newLineWriter(b.opts.Out, b.opts.Now)
	defer out.flush()
	if len(leftovers) > 0 {
		b.opts.Log.Info("cleaning what an earlier attempt left", "paths", leftovers)
		if err := b.opts.Runner.Run(ctx, out, "kubeadm", resetArgs()...); err != nil {
			return err
		}
	}
	if b.opts.Config.Role == node.ControlPlane {
		if err := copyPKI(b.path(node.PKIDir), b.path(node.KubePKIDir)); err != nil {
			return fmt.Errorf("copying authorities: %w", err)
		}
	}
	if action == ActionJoin {
		if err := b.checkCredential(); err != nil {
			return err
		}
		if b.opts.Config.Role == node.ControlPlane {
			if err := b.mintDiscovery(); err != nil {
				return err
			}
		}
		if err := b.waitForControlPlane(ctx); err != nil {
			return err
		}
	}
	record := Record{ClusterID: b.opts.Config.ClusterID, Action: action}
	if err := b.writeRecord(record); err != nil {
		return err
	}
	b.report(ctx, api.Report{Phase: api.PhaseBootstrapping, Step: string(action)})
	if err := b.opts.Runner.Run(ctx, out, "kubeadm", kubeadmArgs(action)...); err != nil {
		return err
	}
	// kubeadm and the kubelet do not wait for the disk. What is remembered below
	// must not outlive, in a power cut, the files that it is about.
	b.opts.Sync()
	record.Succeeded = true
	return b.writeRecord(record)
}

// finish is what follows kubeadm; each step may have been done before.
func (b *bootstrapper) finish(ctx context.Context, action Action) error {
	switch action {
	case ActionInit:
		if err := b.applyManifests(ctx); err != nil {
			return err
		}
		if err := b.initialised(ctx); err != nil {
			return err
		}
	case ActionJoin:
	default:
		return fmt.Errorf("internal error: action %q cannot be finished", action)
	}
	for _, path := range usedUp() {
		if err := shred(b.path(path)); err != nil {
			return err
		}
	}
	done := b.opts.Now().UTC().Format(time.RFC3339) + " " + string(action) + "\n"
	return atomicfile.Write(b.path(node.Done), []byte(done), 0o644)
}

func (b *bootstrapper) applyManifests(ctx context.Context) error {
	dir := b.path(node.ManifestsDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	out := newLineWriter(b.opts.Out, b.opts.Now)
	defer out.flush()
	return b.opts.Runner.Run(ctx, out, "kubectl", applyArgs(b.path(adminConf), dir)...)
}

// waitForClock gives time synchronization a chance, then goes on: kubeadm's
// own message about certificates that are not valid yet is hard to read.
func (b *bootstrapper) waitForClock(ctx context.Context) {
	cert := b.ownCertificate()
	for waited := time.Duration(0); cert != nil && b.opts.Now().Before(cert.NotBefore); waited += clockPoll {
		if waited >= b.opts.ClockWait || ctx.Err() != nil {
			b.opts.Log.Warn("the clock is behind the node's certificates",
				"now", b.opts.Now().UTC(), "notBefore", cert.NotBefore.UTC())
			return
		}
		retry.Sleep(ctx, clockPoll)
	}
}
