package kube

import (
	"context"
	"fmt"
	"time"
)

// A Waiter repeats an observation until it is satisfied.
type Waiter struct {
	// What is waited for.
	What  string
	Every time.Duration
	// Stall is how long the observation may stay the same.
	Stall time.Duration
	Now   func() time.Time
}

// Until calls observe until it is done. News, any text that differs from the
// one before, shows that there is progress; an error ends the wait.
func (w Waiter) Until(ctx context.Context, observe func(context.Context) (news string, done bool, err error)) error {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	last, since := "", w.Now()
	for {
		news, done, err := observe(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", w.What, err)
		}
		if done {
			return nil
		}
		if news != last {
			last, since = news, w.Now()
		}
		if w.Now().Sub(since) >= w.Stall {
			return fmt.Errorf("waiting for %s: nothing changed for %s; last seen: %s", w.What, w.Stall, last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last seen: %s", w.What, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
