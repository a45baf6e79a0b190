package power

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A State is whether a machine has power.
type State string

// The states. A machine that is on its way is in neither.
const (
	On      State = "on"
	Off     State = "off"
	Between State = "between"
)

// A Controller is that of one machine.
type Controller interface {
	// State asks whether the machine is on.
	State(ctx context.Context) (State, error)
	// Set switches it on or off, at once: it does not wait for the operating system,
	// nor for the state.
	Set(ctx context.Context, s State) error
	// BootNetwork makes the next start, and no later one, boot from the network.
	BootNetwork(ctx context.Context) error
}

// ErrUnsupported is wrapped by the error of a controller that cannot do what it is
// asked for.
var ErrUnsupported = errors.New("the controller cannot do that")

// CycleOptions are of [Cycle]. Zero values are the defaults.
type CycleOptions struct {
	// Patience is how long a machine may take to be off, and to be on: two minutes.
	Patience time.Duration
	// Pause is the time between two looks: two seconds.
	Pause time.Duration
}

// Cycle starts a machine from the network, whether it is on or off. The order is such
// that an interrupted one is simply done again.
func Cycle(ctx context.Context, c Controller, opts CycleOptions) error {
	if err := c.BootNetwork(ctx); err != nil {
		return fmt.Errorf("making it boot from the network: %w", err)
	}
	// Off and on, not a reset: some controllers forget what to boot at a reset.
	for _, want := range []State{Off, On} {
		if err := Reach(ctx, c, want, opts); err != nil {
			return err
		}
	}
	return nil
}

// Reach switches a machine on or off, unless it is, and waits until it is.
func Reach(ctx context.Context, c Controller, want State, opts CycleOptions) error {
	if opts.Patience <= 0 {
		opts.Patience = 2 * time.Minute
	}
	if opts.Pause <= 0 {
		opts.Pause = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, opts.Patience)
	defer cancel()
	asked, last := false, Between
	for {
		state, err := c.State(ctx)
		if err != nil && asked && ctx.Err() != nil {
			state, err = last, nil // it answered until there was no time left
		}
		if err != nil {
			return fmt.Errorf("asking whether it is on: %w", err)
		}
		if state == want {
			return nil
		}
		// Once, and not to a machine on its way, which may refuse it.
		if !asked && state != Between {
			if err := c.Set(ctx, want); err != nil {
				return fmt.Errorf("switching it %s: %w", want, err)
			}
			asked = true
		}
		last = state
		select {
		case <-ctx.Done():
			return fmt.Errorf("switching it %s: it is %s after %s: %w", want, state, opts.Patience, ctx.Err())
		case <-time.After(opts.Pause):
		}
	}
}
