package source_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/k8snode/k8snode/builder/source"
)

func opener(content string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

func TestCacheFetch(t *testing.T) {
	c := source.Cache{Dir: t.TempDir()}
	sum := source.SumBytes([]byte("good"))

	if _, err := c.Fetch(t.Context(), "p", sum, opener("evil")); !errors.As(err, new(*source.DigestError)) {
		t.Fatalf("other bytes: error %v, want a DigestError", err)
	}
	if c.Has(sum) {
		t.Fatal("refused bytes are in the cache")
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	path, err := c.Fetch(t.Context(), "p", sum, opener("good"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "good" {
		t.Errorf("got %q, %v", b, err)
	}
	// A cached file is not opened again.
	failing := func(context.Context) (io.ReadCloser, error) { return nil, errors.New("opened") }
	if _, err := c.Fetch(t.Context(), "p", sum, failing); err != nil {
		t.Errorf("fetching what is cached: %v", err)
	}
}

// Several fetchers of one file get the same content, whoever is first.
func TestCacheFetchConcurrently(t *testing.T) {
	c := source.Cache{Dir: t.TempDir()}
	content := strings.Repeat("0123456789", 100_000)
	sum := source.SumBytes([]byte(content))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			path, err := c.Fetch(t.Context(), "p", sum, opener(content))
			if err != nil {
				t.Error(err)
				return
			}
			if got, _, err := source.SumFile(path); got != sum || err != nil {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// A file that was damaged on disk is noticed when it is read.
func TestCacheOpenDamaged(t *testing.T) {
	c := source.Cache{Dir: t.TempDir()}
	sum := source.SumBytes([]byte("good"))
	path, err := c.Fetch(t.Context(), "p", sum, opener("good"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("goof"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := c.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.As(err, new(*source.DigestError)) {
		t.Errorf("error %v, want a DigestError", err)
	}
}

func TestCacheSteps(t *testing.T) {
	c := source.Cache{Dir: t.TempDir()}
	key := source.SumJSON("step")
	if _, ok := c.Lookup(key); ok {
		t.Error("an unknown step has outputs")
	}
	work, err := c.WorkDir("step")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(work, "out")
	if err := os.WriteFile(file, []byte("made"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err := c.Adopt(file)
	if err != nil || digest != source.SumBytes([]byte("made")) {
		t.Fatalf("adopted as %s, %v", digest, err)
	}
	if err := c.Record(key, source.Outputs{"out": digest}); err != nil {
		t.Fatal(err)
	}
	if out, ok := c.Lookup(key); !ok || out["out"] != digest {
		t.Errorf("got %v, %v", out, ok)
	}
	// A step whose output is gone runs again.
	if err := os.Remove(c.Path(digest)); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup(key); ok {
		t.Error("a step without its output counts as done")
	}
}
