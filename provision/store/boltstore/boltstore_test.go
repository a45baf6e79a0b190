package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/store/boltstore"
	"github.com/k8snode/k8snode/provision/store/storetest"
)

const cluster = "6ae6783f-4fbd-491b-aeb8-8b73a48ed247"

// writer is the file that a child process of TestKill changes for ever.
var writer = flag.String("writer", "", "change the nodes in a `file` until killed")

func TestMain(m *testing.M) {
	flag.Parse()
	if *writer != "" {
		write(*writer)
		return
	}
	os.Exit(m.Run())
}

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "nodes.db")) })
}

// What is written is there when the file is opened again.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.db")
	for i := range 3 {
		s, err := boltstore.Open(path, cluster)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		n, err := s.Update(t.Context(), "a", func(n *store.Node) error { n.Refused++; return nil })
		if err != nil || n.Refused != i+1 {
			t.Errorf("got %d, %v, want %d", n.Refused, err, i+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// What is wrong with a file is said, and the file stays as it was.
func TestRefuse(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	s := open(t, whole)
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("node-%d", i))
	}
	if err := s.Add(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	edited := func(from, to string) []byte { return []byte(strings.ReplaceAll(string(good), from, to)) }
	zeros := func(from, to int) []byte {
		b := append([]byte(nil), good...)
		clear(b[from:to])
		return b
	}
	page := os.Getpagesize()
	for _, tt := range []struct {
		name    string
		content []byte
		cluster string
		want    string
	}{
		{"empty", nil, cluster, "it is damaged: it is empty; restore a copy, or move it away to begin with closed nodes"},
		{"text", []byte(strings.Repeat("not a store\n", 10000)), cluster, "it is damaged: invalid database"},
		{"cut off", good[:page], cluster, "it is damaged: "},
		{"both heads gone", zeros(0, 2*page), cluster, "it is damaged: invalid database"},
		{"the rest gone", zeros(2*page, len(good)), cluster, "it is damaged: "},
		{"a node is no JSON", edited(`{"name":"node-7"`, `["name":"node-7"`), cluster, `it is damaged: reading node "node-7": invalid character`},
		{"a node is another", edited(`{"name":"node-7"`, `{"name":"node-8"`), cluster, `it is damaged: node "node-7" says that it is "node-8"`},
		{"newer", edited(`{"format":1,`, `{"format":2,`), cluster, "it has format 2, and this k8snode knows 1: use a newer k8snode"},
		{"another cluster", good, "f00", "it is that of the cluster " + cluster + ", and the secrets are those of f00: name another folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodes.db")
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := boltstore.Open(path, tt.cluster)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it was opened"), s.Close()))
			}
			if want := "opening the store " + path + ": " + tt.want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(tt.content) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.db")
	open(t, path)
	if _, err := boltstore.Open(path, cluster); !errors.Is(err, boltstore.ErrInUse) {
		t.Errorf("got %v", err)
	}
	missing := filepath.Join(t.TempDir(), "no/such/nodes.db")
	if _, err := boltstore.Open(missing, cluster); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

const writers = 4

// write counts in each of some nodes, and says so when the store has answered.
func write(path string) {
	s, err := boltstore.Open(path, cluster)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	var group sync.WaitGroup
	for i := range writers {
		name := fmt.Sprint("n", i)
		if err := s.Add(context.Background(), name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		group.Go(func() {
			for {
				n, err := s.Update(context.Background(), name, func(n *store.Node) error { n.Refused++; return nil })
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(name, n.Refused)
				out.Unlock()
			}
		})
	}
	group.Wait()
}

// TestKill kills a process that changes the store, again and again: what was
// answered is there, and the file is whole.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.db")
	for round := range 5 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-writer", path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		answered := map[string]int{}
		timer := time.AfterFunc(time.Duration(100+37*round)*time.Millisecond, func() { _ = child.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			name, count, _ := strings.Cut(lines.Text(), " ")
			// The last line may be half of one.
			if n, err := strconv.Atoi(count); err == nil && n > answered[name] {
				answered[name] = n
			}
		}
		_ = child.Wait()
		timer.Stop()
		s, err := boltstore.Open(path, cluster)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := s.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.Refused < answered[n.Name] {
				t.Errorf("round %d: %s has %d, and %d was answered", round, n.Name, n.Refused, answered[n.Name])
			}
		}
		if len(answered) != writers {
			t.Logf("round %d: answered %v", round, answered)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
