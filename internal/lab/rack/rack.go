package rack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Place is what the cluster document says of a machine.
type Place struct {
	Name    string
	MAC     string
	Address netip.Addr
}

// Dice throw a number from 0 to n, without n.
type Dice interface{ IntN(n int) int }

// Options say which machines go, and where.
type Options struct {
	Places []Place
	// Thief is the address of somebody who is no machine.
	Thief netip.Addr
	// HTTPURL is the base URL for boot loaders; of the machine API each machine is
	// told. CA is the PEM of the authority that it must be told of.
	HTTPURL string
	CA      string
	// Dial connects from an address of the machines' network.
	Dial func(ctx context.Context, from netip.Addr, address string) (net.Conn, error)
	// Parallel is how many machines are on their way at a time, 128 by default.
	Parallel int
	// Dice are those by which a machine, by its number, has troubles.
	Dice func(machine int) Dice
	// Arrived is called for each machine that is ready; nil is not.
	Arrived func()
	// Now is the clock.
	Now func() time.Time
}

// A Result is what happened.
type Result struct {
	Machines int
	Took     time.Duration
	// Repeats counts requests that were made again, because a connection broke or
	// the server was not there. Thefts counts those of thieves.
	Repeats, Thefts int
	// Wrong counts what was another machine's, Double second configs for one
	// machine, Stolen configs that went to thieves, Replayed those after the first
	// boot. None may be.
	Wrong, Double, Stolen, Replayed int
	// Faults says what they were.
	Faults []string
}

// Failed reports whether something happened that may not.
func (r Result) Failed() bool { return r.Wrong+r.Double+r.Stolen+r.Replayed > 0 }

// event is something that is counted.
type event int

const (
	repeats event = iota
	thefts
	wrong
	double
	stolen
	replayed
	events
)

// run is what machines share.
type run struct {
	opts Options

	mu     sync.Mutex
	counts [events]int
	faults []string
}

// count counts an event; a fault says which machine's it is.
func (r *run) count(e event, fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[e]++
	if fault != "" {
		r.faults = append(r.faults, fault)
	}
}

// Run has every machine go from its boot script to ready. An error is a machine that
// did not arrive; the result counts what happened all the same.
func Run(ctx context.Context, opts Options) (Result, error) {
	if opts.Parallel <= 0 {
		opts.Parallel = 128
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(opts.CA)) {
		return Result{}, errors.New("starting the machines: the authority is no certificate")
	}
	r := &run{opts: opts}
	began := opts.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(opts.Parallel)
	for i, place := range opts.Places {
		group.Go(func() error {
			m := &machine{
				Place: place, run: r, dice: opts.Dice(i),
				uuid: fmt.Sprintf("4c4c4544-0000-4000-8000-%012x", i+1),
				http: r.client(place.Address, roots), thief: r.client(opts.Thief, roots),
			}
			defer m.http.CloseIdleConnections()
			defer m.thief.CloseIdleConnections()
			if err := m.way(ctx); err != nil {
				return err
			}
			if opts.Arrived != nil {
				opts.Arrived()
			}
			return nil
		})
	}
	err := group.Wait()
	return Result{
		Machines: len(opts.Places), Took: opts.Now().Sub(began),
		Repeats: r.counts[repeats], Thefts: r.counts[thefts],
		Wrong: r.counts[wrong], Double: r.counts[double], Stolen: r.counts[stolen], Replayed: r.counts[replayed],
		Faults: r.faults,
	}, err
}

// client is that of one machine: it follows nothing, as what a token is for is at one
// place.
func (r *run) client(from netip.Addr, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return r.opts.Dial(ctx, from, address)
			},
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
