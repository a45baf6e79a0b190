package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

func TestNodesJSON(t *testing.T) {
	s := newServer()
	code, stdout, stderr := run("nodes", "-o", "json", "--socket", s.start(t))
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var got []admin.Node
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.nodes, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNodesYAML(t *testing.T) {
	s := newServer()
	s.nodes = s.nodes[1:]
	code, stdout, stderr := run("nodes", "-o", "yaml", "--socket", s.start(t))
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	want := `- name: w1
  mac: 52:54:00:6b:00:15
  address: 10.77.0.21/24
  role: worker
  phase: installing
  step: write
  done: 1048576
  total: 4194304
  message: writing
  open: true
  held: true
  refused: 2
`
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNodesNoSuchOutput(t *testing.T) {
	code, _, stderr := run("nodes", "-o", "xml", "--socket", newServer().start(t))
	want := "k8snode: error: there is no output \"xml\"\nk8snode: hint: use -o table, -o json or -o yaml\n"
	if code != 2 || stderr != want {
		t.Errorf("exit code %d, %q; want 2, %q", code, stderr, want)
	}
}

// installing is a server whose worker is further with every look, and whose control
// plane stays as it is.
type installing struct {
	server
	mu    sync.Mutex
	looks int64
}

func (s *installing) Nodes(context.Context) ([]admin.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes := newServer().nodes
	nodes[1].Done = s.looks << 20
	s.looks = min(s.looks+1, 2)
	return nodes, nil
}

func TestNodesWatch(t *testing.T) {
	for _, tt := range []struct{ format, want string }{
		{
			"table",
			"NODE  ROLE          MAC                ADDRESS        PHASE       STEP      WINDOW  REFUSED  MESSAGE\n" +
				"cp1   controlPlane  52:54:00:6b:00:0b  10.77.0.11/24  registered            closed  0        \n" +
				"w1    worker        52:54:00:6b:00:15  10.77.0.21/24  installing  write 0%  held    2        writing\n" +
				"w1    worker        52:54:00:6b:00:15  10.77.0.21/24  installing  write 25%  held    2        writing\n" +
				"w1    worker        52:54:00:6b:00:15  10.77.0.21/24  installing  write 50%  held    2        writing\n",
		},
		{"yaml", "---\n"},
	} {
		t.Run(tt.format, func(t *testing.T) {
			stop, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out := &until{want: "write 50%", done: cancel}
			if tt.format == "yaml" {
				out.want = "done: 2097152"
			}
			var stderr bytes.Buffer
			code := cli.Run(stop, cli.Env{Stdin: new(bytes.Buffer), Stdout: out, Stderr: &stderr, Now: time.Now},
				[]string{"nodes", "--watch", "-o", tt.format, "--socket", start(t, &installing{})})
			// An interrupt is how a watch ends.
			if code != 0 || stderr.Len() != 0 {
				t.Errorf("exit code %d, %s", code, &stderr)
			}
			got := out.text.String()
			if tt.format == "yaml" {
				if documents := strings.Split(got, "---\n"); len(documents) != 3 ||
					strings.Count(documents[0], "name: ") != 2 || strings.Count(documents[2], "name: ") != 1 {
					t.Errorf("documents of a watch:\n%s", got)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// until calls done when want was written.
type until struct {
	text bytes.Buffer
	want string
	done func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.text.Write(p)
	if strings.Contains(u.text.String(), u.want) {
		u.done()
	}
	return n, err
}

// A server that ends while it is watched is not the end of all changes.
func TestNodesWatchServerEnds(t *testing.T) {
	s := newServer()
	s.nodes[0].Phase = api.PhaseReady
	socket, stop := startStoppable(t, s)
	out := &until{want: "w1", done: stop}
	var stderr bytes.Buffer
	code := cli.Run(t.Context(), cli.Env{Stdin: new(bytes.Buffer), Stdout: out, Stderr: &stderr, Now: time.Now},
		[]string{"nodes", "--watch", "--socket", socket})
	if code != 1 || !strings.Contains(stderr.String(), "watching the nodes: ") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
}
