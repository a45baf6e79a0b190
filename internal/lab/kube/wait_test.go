package kube_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWait(t *testing.T) {
	stepping := func() func() time.Time {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		return func() time.Time { now = now.Add(time.Second); return now }
	}
	t.Run("news put off the end", func(t *testing.T) {
		calls := 0
		err := kube.Waiter{What: "it", Every: time.Millisecond, Stall: 3 * time.Second, Now: stepping()}.Until(t.Context(), func(context.Context) (string, bool, error) {
			calls++
			return strings.Repeat("x", calls), calls == 20, nil
		})
		if err != nil || calls != 20 {
			t.Errorf("got error %v after %d calls, want none after 20", err, calls)
		}
	})
	t.Run("stall", func(t *testing.T) {
		err := kube.Waiter{What: "it", Every: time.Millisecond, Stall: 3 * time.Second, Now: stepping()}.Until(t.Context(), func(context.Context) (string, bool, error) {
			return "same", false, nil
		})
		if want := "waiting for it: nothing changed for 3s; last seen: same"; errorText(err) != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	})
	t.Run("error", func(t *testing.T) {
		boom := errors.New("boom")
		err := kube.Waiter{What: "it", Every: time.Millisecond, Stall: time.Hour, Now: stepping()}.Until(t.Context(), func(context.Context) (string, bool, error) {
			return "", false, boom
		})
		if !errors.Is(err, boom) || errorText(err) != "waiting for it: boom" {
			t.Errorf("got error %v, want that of the observation", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		cancel(interrupted)
		err := kube.Waiter{What: "it", Every: time.Millisecond, Stall: time.Hour, Now: stepping()}.Until(ctx, func(context.Context) (string, bool, error) {
			return "half", false, nil
		})
		if want := "waiting for it: interrupted; last seen: half"; errorText(err) != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	})
}
