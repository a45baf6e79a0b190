package retry

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Defaults of a Policy.
const (
	DefaultFirst = 500 * time.Millisecond
	DefaultMax   = 15 * time.Second
)

// A Policy says how long to wait. The zero value waits half a second, doubling
// to 15 s, forever.
type Policy struct {
	// First and Max are the shortest and the longest delay; zero means
	// DefaultFirst and DefaultMax.
	First, Max time.Duration
	// Limit is the longest time for all tries together; zero means no limit.
	Limit time.Duration
	// Notify is called before each delay; it may be nil.
	Notify func(err error, delay time.Duration)
}

// Delay returns the wait after the given number of failures, from 1.
func (p Policy) Delay(failures int) time.Duration {
	delay, most := p.First, p.Max
	if delay <= 0 {
		delay = DefaultFirst
	}
	if most <= 0 {
		most = DefaultMax
	}
	for range failures - 1 {
		if delay >= most {
			break
		}
		delay *= 2
	}
	return min(delay, most)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that another try does not cure. Permanent(nil)
// is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err was marked by [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// Do calls op until it succeeds, returns a permanent error, p.Limit passes or
// ctx ends; it returns op's last error. The context that op gets ends with
// the limit.
func Do(ctx context.Context, p Policy, op func(context.Context) error) error {
	limited := ctx
	if p.Limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, p.Limit)
		defer cancel()
	}
	var last error
	for failures := 1; ; failures++ {
		err := op(limited)
		if err == nil || IsPermanent(err) {
			return err
		}
		// The error of a try that the limit cut off says less than the one
		// before it.
		if last == nil || limited.Err() == nil {
			last = err
		}
		if limited.Err() == nil {
			delay := p.Delay(failures)
			if p.Notify != nil {
				p.Notify(err, delay)
			}
			Sleep(limited, delay)
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w (last try: %w)", context.Cause(ctx), last)
		case limited.Err() != nil:
			return fmt.Errorf("giving up after %v: %w", p.Limit, last)
		}
	}
}

// Sleep waits for d or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
