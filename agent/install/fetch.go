package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/images"
)

// decoders is how many goroutines decompress, check and write.
const decoders = 2

// A fetcher copies the blocks of an image to a disk, except the first, which
// it keeps.
type fetcher struct {
	client    *client.Client
	url       string
	blocks    images.BlockMap
	target    disk.Target
	policy    retry.Policy
	tries     int   // for a block with wrong bytes
	spanLimit int64 // stored bytes of one request
	progress  *progress
	log       *slog.Logger

	mu    sync.Mutex
	done  []bool
	wrong []int
	first []byte // the raw bytes of block 0
	fatal error  // of the disk, or a block that was wrong too often
}

// fetch returns the first block once every other block is on the disk.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	f.done = make([]bool, len(f.blocks.Blocks))
	f.wrong = make([]int, len(f.blocks.Blocks))
	stalled := newStall(ctx, f.policy.Limit)
	defer stalled.stop()
	for failures := 0; ; {
		span, more := NextSpan(f.blocks, f.done, f.spanLimit)
		if !more {
			return f.first, nil
		}
		before := f.count()
		err := f.copySpan(stalled.ctx, span)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case f.fatal != nil:
			return nil, f.fatal
		case retry.IsPermanent(err):
			return nil, err
		}
		if f.count() > before {
			failures = 0
			stalled.reset()
		}
		if err == nil {
			continue
		}
		failures++
		delay := f.policy.Delay(failures)
		if f.policy.Notify != nil {
			f.policy.Notify(err, delay)
		}
		retry.Sleep(stalled.ctx, delay)
		if ctx.Err() == nil && stalled.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", context.Cause(stalled.ctx), err)
		}
	}
}

func (f *fetcher) count() int {
	n := 0
	for _, d := range f.done {
		if d {
			n++
		}
	}
	return n
}

// A frame is the stored form of a block.
type frame struct {
	block int
	data  []byte
}

// copySpan makes one request and passes its frames to the decoders. When it
// returns, no goroutine of it is left and what it marked as done is on the
// medium.
func (f *fetcher) copySpan(ctx context.Context, span Span) error {
	body, err := f.client.Range(ctx, f.url, span.StoredOffset, span.StoredLength)
	if err != nil {
		return err
	}
	defer body.Close()

	frames := make(chan frame, decoders)
	var workers sync.WaitGroup
	for range decoders {
		workers.Go(func() { f.decode(frames) })
	}
	var readErr error
	for _, i := range span.Blocks {
		if readErr = f.failed(); readErr != nil {
			break
		}
		data := make([]byte, f.blocks.Blocks[i].StoredLength)
		if _, readErr = io.ReadFull(body, data); readErr != nil {
			readErr = fmt.Errorf("reading %s: %w", f.url, readErr)
			break
		}
		frames <- frame{i, data}
	}
	close(frames)
	workers.Wait()
	if f.fatal == nil {
		// Keeps the dirty pages of an initramfs bounded, and progress honest.
		if err := f.target.Sync(); err != nil {
			f.fatal = fmt.Errorf("writing disk: %w", err)
		}
	}
	if readErr == nil {
		for _, i := range span.Blocks {
			if !f.done[i] {
				return fmt.Errorf("reading %s: block %d has wrong bytes", f.url, i)
			}
		}
	}
	return readErr
}

func (f *fetcher) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fatal
}

func (f *fetcher) decode(frames <-chan frame) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		f.fail(fmt.Errorf("internal error: making a zstd decoder: %w", err))
	} else {
		defer decoder.Close()
	}
	var raw []byte
	for fr := range frames {
		if f.failed() != nil {
			continue
		}
		b := f.blocks.Blocks[fr.block]
		var err error
		raw, err = decodeBlock(decoder, fr.data, b, raw)
		if err != nil {
			f.reject(fr.block, err)
			continue
		}
		if b.Offset == 0 {
			f.mu.Lock()
			f.first = bytes.Clone(raw)
			f.mu.Unlock()
		} else if _, err := f.target.WriteAt(raw, b.Offset); err != nil {
			f.fail(fmt.Errorf("writing disk: %w", err))
			continue
		}
		f.mu.Lock()
		f.done[fr.block] = true
		f.mu.Unlock()
		f.progress.add(b.Length)
	}
}

// reject counts a block with wrong bytes; too many times and it is final.
func (f *fetcher) reject(block int, err error) {
	f.mu.Lock()
	f.wrong[block]++
	times := f.wrong[block]
	f.mu.Unlock()
	err = fmt.Errorf("block %d of %s: %w", block, f.url, err)
	if times >= f.tries {
		f.fail(fmt.Errorf("%w (%d times)", err, times))
		return
	}
	f.log.Warn("block rejected", "error", err, "times", times)
}

func (f *fetcher) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fatal == nil {
		f.fatal = err
	}
}

// decodeBlock decompresses one frame into buf and checks the result.
func decodeBlock(decoder *zstd.Decoder, data []byte, b images.Block, buf []byte) ([]byte, error) {
	raw, err := decoder.DecodeAll(data, buf[:0])
	if err != nil {
		return buf, fmt.Errorf("decompressing: %w", err)
	}
	if int64(len(raw)) != b.Length {
		return raw, fmt.Errorf("length is %d, want %d", len(raw), b.Length)
	}
	if got := digest(raw); got != b.SHA256 {
		return raw, fmt.Errorf("sha256 is %s, want %s", got, b.SHA256)
	}
	return raw, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// A stall ends its context when reset was not called for a time.
type stall struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func newStall(parent context.Context, limit time.Duration) *stall {
	s := &stall{limit: limit}
	s.ctx, s.cancel = context.WithCancelCause(parent)
	if limit > 0 {
		s.timer = time.AfterFunc(limit, func() {
			s.cancel(errors.New("giving up after " + limit.String() + " without progress"))
		})
	}
	return s
}

func (s *stall) reset() {
	if s.timer != nil {
		s.timer.Reset(s.limit)
	}
}

func (s *stall) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel(nil)
}
