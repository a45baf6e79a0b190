package etcdbackup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/etcdbackup"
	"github.com/k8snode/k8snode/agent/node"
)

type source struct {
	content []byte
	err     error
}

func (s source) Snapshot(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.content)), s.err
}

func (source) Close() {}

func snapshot(database string) []byte {
	sum := sha256.Sum256([]byte(database))
	return append([]byte(database), sum[:]...)
}

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	from := source{content: snapshot("database")}
	opts := etcdbackup.Options{
		Config: node.Config{Name: "cp1", Etcd: &node.Etcd{}}, Dir: dir, Keep: 2,
		Now:     func() time.Time { return now },
		Connect: func(etcdbackup.Options) (etcdbackup.Source, error) { return from, nil },
	}
	list := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	path, err := etcdbackup.Run(t.Context(), opts)
	if err != nil || path != filepath.Join(dir, "cp1-20260501T120000Z.db") {
		t.Fatalf("got %s, %v", path, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, from.content) {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: a snapshot holds every Secret", info.Mode(), err)
	}

	// What others wrote stays; what an interrupted save left goes.
	for _, name := range []string{"cp2-20200101T000000Z.db", "cp1-mine.db", "cp1-20260501T115900Z.db.partial"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		now = now.Add(time.Hour)
		if _, err := etcdbackup.Run(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	list("cp1-20260501T130000Z.db", "cp1-20260501T140000Z.db", "cp1-mine.db", "cp2-20200101T000000Z.db")

	// One that fails leaves the others, and nothing of itself.
	now = now.Add(time.Hour)
	for name, tt := range map[string]struct {
		source source
		want   string
	}{
		"cut off":   {source{content: snapshot("database")[:20]}, "too few"},
		"changed":   {source{content: append([]byte("x"), snapshot("database")...)}, "it was cut off"},
		"no answer": {source{err: errors.New("no leader")}, "no leader"},
	} {
		from = tt.source
		if _, err := etcdbackup.Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
		list("cp1-20260501T130000Z.db", "cp1-20260501T140000Z.db", "cp1-mine.db", "cp2-20200101T000000Z.db")
	}
	opts.Config.Etcd = nil
	if _, err := etcdbackup.Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), `node "cp1" has no member of etcd`) {
		t.Errorf("a worker: %v", err)
	}
}
