package lab_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/internal/lab"
)

// serveQMP answers one conversation on a socket: the greeting, then one
// answer per command, each of which may hold several messages.
func serveQMP(t *testing.T, greeting string, answers map[string]string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "qmp")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintln(conn, greeting)
		commands := bufio.NewScanner(conn)
		for commands.Scan() {
			if _, err := io.WriteString(conn, answers[commands.Text()]); err != nil {
				return
			}
		}
	}()
	return socket
}

func TestQueryMachine(t *testing.T) {
	const (
		greeting     = `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}`
		capabilities = `{"execute":"qmp_capabilities"}`
		query        = `{"execute":"query-status"}`
	)
	for _, tt := range []struct {
		name     string
		greeting string
		answers  map[string]string
		want     string
		wantErr  string
	}{
		{
			name:     "result after an event",
			greeting: greeting,
			answers: map[string]string{
				capabilities: `{"return": {}}`,
				query:        `{"event": "RESET", "data": {}} {"return": {"status": "running"}}`,
			},
			want: "running",
		},
		{
			name:     "error",
			greeting: greeting,
			answers: map[string]string{
				capabilities: `{"return": {}}`,
				query:        `{"error": {"class": "CommandNotFound", "desc": "no such command"}}`,
			},
			wantErr: "asking QEMU to query-status: CommandNotFound: no such command",
		},
		{
			name:     "result of another shape",
			greeting: greeting,
			answers:  map[string]string{capabilities: `{"return": {}}`, query: `{"return": {"status": 1}}`},
			wantErr:  "asking QEMU to query-status: decoding the result: json: cannot unmarshal number into Go struct field .status of type string",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got struct {
				Status string `json:"status"`
			}
			err := lab.QueryMachine(t.Context(), serveQMP(t, tt.greeting, tt.answers), "query-status", &got)
			if errorText(err) != tt.wantErr || got.Status != tt.want {
				t.Errorf("got status %q and error %q, want %q and %q", got.Status, errorText(err), tt.want, tt.wantErr)
			}
		})
	}
	t.Run("not QMP", func(t *testing.T) {
		socket := serveQMP(t, `{"hello": 1}`, nil)
		want := "asking QEMU to query-status: " + socket + " does not speak QMP"
		if err := lab.QueryMachine(t.Context(), socket, "query-status", nil); errorText(err) != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	})
}

func TestParseStat(t *testing.T) {
	const tail = " 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"
	for _, tt := range []struct {
		name, stat string
		state      string
		started    uint64
		wantErr    string
	}{
		{name: "plain", stat: "12 (sh) S" + tail, state: "S", started: 4711},
		{name: "name with spaces and parentheses", stat: "12 (a) Z 9 (b) R" + tail, state: "R", started: 4711},
		{name: "no name", stat: "12 sh S" + tail, wantErr: `stat "12 sh S` + tail + `" has no command name`},
		{name: "short", stat: "12 (sh) S 1", wantErr: "stat has 2 fields after the command name, want at least 20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, started, err := lab.ParseStat(tt.stat)
			if state != tt.state || started != tt.started || errorText(err) != tt.wantErr {
				t.Errorf("got %q, %d, %v; want %q, %d, %q", state, started, err, tt.state, tt.started, tt.wantErr)
			}
		})
	}
}
