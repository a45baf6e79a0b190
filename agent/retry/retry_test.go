package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
)

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		policy   retry.Policy
		failures int
		want     time.Duration
	}{
		{retry.Policy{}, 1, 500 * time.Millisecond},
		{retry.Policy{}, 2, time.Second},
		{retry.Policy{}, 5, 8 * time.Second},
		{retry.Policy{}, 6, 15 * time.Second},
		{retry.Policy{}, 1 << 40, 15 * time.Second},
		{retry.Policy{First: time.Minute, Max: time.Second}, 1, time.Second},
		{retry.Policy{First: 3, Max: 10}, 2, 6},
	} {
		if got := tt.policy.Delay(tt.failures); got != tt.want {
			t.Errorf("%+v after %d: got %v, want %v", tt.policy, tt.failures, got, tt.want)
		}
	}
}

func TestDo(t *testing.T) {
	boom := errors.New("boom")
	quick := retry.Policy{First: time.Millisecond, Max: time.Millisecond}
	for _, tt := range []struct {
		name  string
		limit time.Duration
		op    func(try int) error
		tries int // 0: more than one
		want  string
	}{
		{name: "at once", op: func(int) error { return nil }, tries: 1},
		{name: "third try", op: func(try int) error {
			if try < 3 {
				return boom
			}
			return nil
		}, tries: 3},
		{name: "permanent", op: func(try int) error {
			if try == 2 {
				return fmt.Errorf("asking: %w", retry.Permanent(boom))
			}
			return boom
		}, tries: 2, want: "asking: boom"},
		{name: "limit", limit: 20 * time.Millisecond, op: func(int) error { return boom }, want: "giving up after 20ms: boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries, notified := 0, 0
			p := quick
			p.Limit = tt.limit
			p.Notify = func(err error, delay time.Duration) {
				notified++
				if !errors.Is(err, boom) || delay != time.Millisecond {
					t.Errorf("notified of %v, %v", err, delay)
				}
			}
			err := retry.Do(context.Background(), p, func(context.Context) error {
				tries++
				return tt.op(tries)
			})
			if got := fmt.Sprint(err); tt.want != "" && got != tt.want || tt.want == "" && err != nil {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.want != "" && !errors.Is(err, boom) {
				t.Errorf("%v does not wrap its cause", err)
			}
			if tt.tries > 0 && (tries != tt.tries || notified != tries-1) || tries == 0 || tt.limit > 0 && tries < 2 {
				t.Errorf("%d tries, %d notices", tries, notified)
			}
		})
	}
}

func TestDoCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
		cancel(errors.New("terminated"))
		return errors.New("unreachable")
	})
	if err == nil || err.Error() != "terminated (last try: unreachable)" {
		t.Errorf("got %v", err)
	}
}

// The error of the try that the limit cut off is not the one to show.
func TestDoLimitCutsATry(t *testing.T) {
	tries := 0
	err := retry.Do(context.Background(), retry.Policy{First: 1, Limit: 20 * time.Millisecond}, func(ctx context.Context) error {
		if tries++; tries == 1 {
			return errors.New("connection refused")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || err.Error() != "giving up after 20ms: connection refused" {
		t.Errorf("got %v", err)
	}
}

func TestPermanent(t *testing.T) {
	if retry.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
	if retry.IsPermanent(errors.New("x")) || !retry.IsPermanent(fmt.Errorf("y: %w", retry.Permanent(errors.New("x")))) {
		t.Error("IsPermanent is wrong")
	}
}
