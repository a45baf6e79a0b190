package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

// windowEnd is when the windows of the fake server close.
var windowEnd = time.Date(2026, 3, 1, 12, 45, 0, 0, time.UTC)

// server has two nodes.
type server struct{ nodes []admin.Node }

func newServer() *server {
	return &server{[]admin.Node{
		{Name: "cp1", Role: "controlPlane", MAC: "52:54:00:6b:00:0b", Address: "10.77.0.11/24", Phase: api.PhaseRegistered},
		{
			Name: "w1", Role: "worker", MAC: "52:54:00:6b:00:15", Address: "10.77.0.21/24",
			Phase: api.PhaseInstalling, Step: "write", Done: 1 << 20, Total: 4 << 20, Message: "writing",
			Open: true, Held: true, Refused: 2,
		},
	}}
}

func (s *server) Nodes(context.Context) ([]admin.Node, error) { return s.nodes, nil }

func (s *server) Arm(_ context.Context, name string, opts admin.ArmOptions) (admin.Node, error) {
	if opts.For > 24*time.Hour {
		return admin.Node{}, fmt.Errorf("%w: it is longer than a day", store.ErrWindow)
	}
	return s.change(name, func(n *admin.Node) { n.Phase, n.Open, n.WindowEnd = api.PhaseArmed, true, windowEnd })
}

func (s *server) Strangers(context.Context) ([]admin.Stranger, error) {
	return []admin.Stranger{
		{
			MACs: []string{"52:54:00:6b:00:99", "52:54:00:6b:00:9a"}, UUID: "4c4c4544-0051-3410-8052-b4c04f4d3132", Manufacturer: "Dell Inc.", Product: "R640",
			Address: "10.77.0.99", Reason: "the machine is not in the inventory", First: windowEnd, Last: windowEnd.Add(time.Minute), Count: 3,
		},
		{MACs: []string{}, Address: "10.77.0.98", Reason: "the machine is not in the inventory", First: windowEnd, Last: windowEnd, Count: 1},
	}, nil
}

func (s *server) Disarm(_ context.Context, name string) (admin.Node, error) {
	return s.change(name, func(n *admin.Node) { n.Phase, n.Open = api.PhaseRegistered, false })
}

func (s *server) Hold(_ context.Context, name, why string) (admin.Node, error) {
	return s.change(name, func(n *admin.Node) { n.Held, n.HeldFor = true, why })
}

func (*server) Seed(_ context.Context, name string) (admin.InstallSeed, error) {
	return admin.InstallSeed{}, fmt.Errorf("making a seed of node %q: %w", name, store.ErrUnknownNode)
}

func (s *server) Release(_ context.Context, name string) (admin.Node, error) {
	return s.change(name, func(n *admin.Node) { n.Held, n.HeldFor = false, "" })
}

func (s *server) change(name string, change func(*admin.Node)) (admin.Node, error) {
	for i := range s.nodes {
		if s.nodes[i].Name == name {
			change(&s.nodes[i])
			return s.nodes[i], nil
		}
	}
	return admin.Node{}, fmt.Errorf("changing node %q: %w", name, store.ErrUnknownNode)
}

// start serves s and returns the socket.
func (s *server) start(t *testing.T) string { return start(t, s) }

func start(t *testing.T, s admin.Backend) string {
	socket, _ := startStoppable(t, s)
	return socket
}

func startStoppable(t *testing.T, s admin.Backend) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "k8snode.sock")
	l, err := admin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: admin.NewHandler(s, nil), ReadHeaderTimeout: time.Second}
	go srv.Serve(l)
	stop = func() { srv.Close() }
	t.Cleanup(stop)
	return socket, stop
}

func run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), cli.Env{Stdin: new(bytes.Buffer), Stdout: &out, Stderr: &errs, Now: time.Now}, args)
	return code, out.String(), errs.String()
}

func TestOperator(t *testing.T) {
	until := "until " + windowEnd.Local().Format("15:04:05")
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{
			name: "nodes", args: []string{"nodes"},
			stdout: "NODE  ROLE          MAC                ADDRESS        PHASE       STEP       WINDOW  REFUSED  MESSAGE\n" +
				"cp1   controlPlane  52:54:00:6b:00:0b  10.77.0.11/24  registered             closed  0        \n" +
				"w1    worker        52:54:00:6b:00:15  10.77.0.21/24  installing  write 25%  held    2        writing\n",
		},
		{
			name: "unknown machines", args: []string{"nodes", "--unknown"},
			stdout: "MAC                                  ADDRESS     SERIAL  MACHINE         ASKED  LAST      REASON\n" +
				"52:54:00:6b:00:99,52:54:00:6b:00:9a  10.77.0.99  -       Dell Inc. R640  3      " + windowEnd.Add(time.Minute).Local().Format("15:04:05") + "  the machine is not in the inventory\n" +
				"-                                    10.77.0.98  -       -               1      " + windowEnd.Local().Format("15:04:05") + "  the machine is not in the inventory\n",
		},
		{
			name: "arm", args: []string{"arm", "cp1"},
			stdout: "NODE  ROLE          MAC                ADDRESS        PHASE  STEP  WINDOW          REFUSED  MESSAGE\n" +
				"cp1   controlPlane  52:54:00:6b:00:0b  10.77.0.11/24  armed        " + until + "  0        \n",
		},
		{
			// The operator must learn that the first window is open.
			name: "arm, with a slip in the second name", args: []string{"arm", "cp1", "w11", "w1"}, code: 1,
			stdout: "NODE  ROLE          MAC                ADDRESS        PHASE  STEP  WINDOW          REFUSED  MESSAGE\n" +
				"cp1   controlPlane  52:54:00:6b:00:0b  10.77.0.11/24  armed        " + until + "  0        \n",
			stderr: "k8snode: error: changing node \"w11\": unknown node\n",
		},
		{
			name: "arm for too long", args: []string{"arm", "cp1", "--for", "48h"}, code: 1,
			stderr: "k8snode: error: impossible install window: it is longer than a day\n",
		},
		{
			name: "disarm", args: []string{"disarm", "cp1"},
			stdout: "NODE  ROLE          MAC                ADDRESS        PHASE       STEP  WINDOW  REFUSED  MESSAGE\n" +
				"cp1   controlPlane  52:54:00:6b:00:0b  10.77.0.11/24  registered        closed  0        \n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(append(tt.args, "--socket", newServer().start(t))...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}
