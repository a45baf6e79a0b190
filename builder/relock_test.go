package builder_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
)

func TestRelock(t *testing.T) {
	l := newLab(t)
	relock := func(changed, found bool, want ...string) builder.Relocked {
		t.Helper()
		r, err := builder.Relock(t.Context(), l.spec, l.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range r.Changes {
			got = append(got, c.String())
		}
		if diff := cmp.Diff(want, got); diff != "" || r.Changed != changed || r.Found != found {
			t.Errorf("changed %v, found %v, changes: %s", r.Changed, r.Found, diff)
		}
		return r
	}
	write := func(r builder.Relocked) {
		t.Helper()
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
	}
	first := relock(true, false)
	if _, err := os.Stat(l.o.Lock); err == nil {
		t.Error("it was written unasked")
	}
	write(first)
	relock(false, true)
	l.set(newCurl)
	write(relock(true, true, "curl 8.1 → 8.2"))
	relock(false, true)

	// It repairs what nothing else reads.
	data, err := os.ReadFile(l.o.Lock)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Replace(data, []byte(`"8.2"`), []byte(`"8.1"`), 1)
	if err := os.WriteFile(l.o.Lock, edited, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.lockAndFetch(); err == nil {
		t.Error("an edited lock was used")
	}
	r := relock(true, true, "curl 8.1 → 8.2")
	write(r)
	if _, err := l.lockAndFetch(); err != nil {
		t.Error(err)
	}
}

// A seed is used as long as it answers, and never written to.
func TestLockSeed(t *testing.T) {
	l := newLab(t)
	lock, err := l.lockAndFetch()
	if err != nil {
		t.Fatal(err)
	}
	l.o.Lock, l.o.Seed, l.o.SeedName = "", lock.Marshal(), "embedded:small.lock.json"
	l.o.Locked = true
	if _, err := l.lockAndFetch(); err != nil {
		t.Fatal(err)
	}
	locks := filepath.Join(l.o.Cache.Dir, "locks")
	if _, err := os.Stat(locks); err == nil {
		t.Error("a copy of the seed was written")
	}
	l.set(newCurl)
	l.o.Locked, l.o.Cache.Dir = false, t.TempDir()
	again, err := l.lockAndFetch()
	if err != nil || pins(again) != newPins {
		t.Fatalf("%s, %v", pins(again), err)
	}
	// From now on there is a newer one.
	l.o.Locked = true
	again, err = l.lockAndFetch()
	if err != nil || pins(again) != newPins {
		t.Fatalf("%s, %v", pins(again), err)
	}
	// A seed of a newer program counts more.
	l.o.Seed = append(l.o.Seed, '\n')
	if again, err = builder.ReadLock(l.spec, l.o); err != nil || pins(again) != firstPins {
		t.Fatalf("%s, %v", pins(again), err)
	}
}

// Two bakes that begin at the same moment with one cache and one lock.
func TestLockConcurrently(t *testing.T) {
	l := newLab(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			o := l.o
			o.Logger = nil
			lock, err := builder.LockAndFetch(t.Context(), l.spec, o)
			if err != nil || pins(lock) != firstPins {
				t.Errorf("%s, %v", pins(lock), err)
			}
		})
	}
	wg.Wait()
}

// The last that a fetch says of itself is that it has everything.
func TestFetchProgress(t *testing.T) {
	l := newLab(t)
	var mu sync.Mutex
	var last builder.Progress
	l.o.Progress = func(p builder.Progress) {
		mu.Lock()
		defer mu.Unlock()
		last = p
	}
	lock, err := l.lockAndFetch()
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, d := range slices.Concat(lock.Root, lock.Boot) {
		size += d.Size
	}
	if want := (builder.Progress{Files: 7, TotalFiles: 7, Bytes: size, TotalBytes: size}); last != want {
		t.Errorf("got %+v, want %+v", last, want)
	}
	got, err := builder.FetchAll(t.Context(), l.spec, l.o)
	if want := (builder.Fetched{Files: 7, Cached: 7, Bytes: size, CachedBytes: size}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
