package client

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// goodEnd answers nothing until its request is cancelled, and then ends in
// good order, as the last chunk of a server that was told to stop may.
type goodEnd struct{ ctx context.Context }

func (b goodEnd) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, io.EOF }
func (goodEnd) Close() error               { return nil }

func TestIdleServerThatEndsInGoodOrder(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	idle := errors.New("idle")
	body := &watchedBody{body: goodEnd{ctx}, cancel: cancel, idle: time.Millisecond,
		cause: func() error { return context.Cause(ctx) }}
	body.timer = time.AfterFunc(body.idle, func() { cancel(idle) })
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, idle) {
		t.Errorf("got %v, want %v", err, idle)
	}
}
