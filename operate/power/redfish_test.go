package power_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/operate/power"
)

// board is a machine behind a Redfish service, with the habits of real ones: states
// that last, an ETag that must match, a list of what is allowed.
type board struct {
	mu      sync.Mutex
	state   string
	pending []string // the states to come, one for each look
	etag    int
	boot    map[string]string
	resets  []string

	systems      []string
	targets      []string // allowed boot targets
	resetTypes   []string
	stubborn     bool // it never switches off
	mode         string
	badTarget    string
	requireMatch bool
}

func newBoard() *board {
	return &board{
		state: "On", systems: []string{"/redfish/v1/Systems/1"}, targets: []string{"None", "Pxe", "Hdd"},
		resetTypes: []string{"On", "ForceOff", "ForceRestart"}, mode: "Legacy", requireMatch: true,
	}
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if user, password, ok := r.BasicAuth(); !ok || user != "root" || password != "calvin" {
		b.fail(w, http.StatusUnauthorized, "Authentication failed.")
		return
	}
	switch {
	case r.Method == "GET" && r.URL.Path == "/redfish/v1/Systems":
		var members []map[string]string
		for _, s := range b.systems {
			members = append(members, map[string]string{"@odata.id": s})
		}
		b.answer(w, map[string]any{"Members": members})
	case r.Method == "GET" && r.URL.Path == "/redfish/v1/Systems/1":
		if len(b.pending) > 0 {
			b.state, b.pending = b.pending[0], b.pending[1:]
		}
		w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, b.etag))
		target := "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
		if b.badTarget != "" {
			target = b.badTarget
		}
		b.answer(w, map[string]any{
			"@odata.id": "/redfish/v1/Systems/1", "PowerState": b.state,
			"Boot":    map[string]any{"BootSourceOverrideTarget@Redfish.AllowableValues": b.targets, "BootSourceOverrideMode": b.mode},
			"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": target, "ResetType@Redfish.AllowableValues": b.resetTypes}},
		})
	case r.Method == "PATCH" && r.URL.Path == "/redfish/v1/Systems/1":
		if b.requireMatch && r.Header.Get("If-Match") != fmt.Sprintf(`W/"%d"`, b.etag) {
			b.fail(w, http.StatusPreconditionFailed, "The ETag does not match.")
			return
		}
		var body struct{ Boot map[string]string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			b.fail(w, http.StatusBadRequest, err.Error())
			return
		}
		b.boot = body.Boot
		b.etag++
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "POST" && r.URL.Path == "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset":
		var body struct{ ResetType string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			b.fail(w, http.StatusBadRequest, err.Error())
			return
		}
		b.resets = append(b.resets, body.ResetType)
		switch {
		case body.ResetType == "ForceOff" && !b.stubborn:
			b.pending = []string{"PoweringOff", "Off"}
		case body.ResetType == "On":
			b.pending = []string{"PoweringOn", "On"}
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		b.fail(w, http.StatusNotFound, "There is no "+r.URL.Path+".")
	}
}

func (b *board) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (b *board) fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	b.answer(w, map[string]any{"error": map[string]any{
		"code": "Base.1.0.GeneralError", "message": "See @Message.ExtendedInfo.", "@Message.ExtendedInfo": []any{map[string]string{"Message": message}},
	}})
}

// start serves a board and returns its controller, as a document with a CA opens it.
func (b *board) start(t *testing.T, path string) power.Controller {
	t.Helper()
	server := httptest.NewTLSServer(b)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	write(t, dir, "password", "calvin\n")
	return open(t, dir, "redfish: {url: "+server.URL+path+", user: root, passwordFile: password, ca: ca.pem}")
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens the controller of a document with one machine.
func open(t *testing.T, dir, entry string) power.Controller {
	t.Helper()
	c, err := tryOpen(dir, entry)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryOpen(dir, entry string) (power.Controller, error) {
	d, err := power.Parse("controllers.yaml", []byte("apiVersion: k8snode.io/v1alpha1\nkind: Controllers\nspec:\n  nodes:\n    - name: cp1\n      "+entry+"\n"))
	if err != nil {
		return nil, err
	}
	return d.Open("cp1", power.OpenOptions{Dir: dir, Environ: os.Environ()})
}

func quickly() power.CycleOptions {
	return power.CycleOptions{Patience: 5 * time.Second, Pause: time.Millisecond}
}

func TestRedfishCycle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*board)
		resets string
		boot   string
	}{
		{"on", func(*board) {}, "ForceOff On", "Pxe Once UEFI"},
		{"off", func(b *board) { b.state = "Off" }, "On", "Pxe Once UEFI"},
		{"on its way down", func(b *board) {
			b.state, b.pending = "PoweringOff", []string{"PoweringOff", "PoweringOff", "PoweringOff", "Off"}
		}, "On", "Pxe Once UEFI"},
		{"it says nothing of what is allowed", func(b *board) { b.targets, b.resetTypes, b.mode = nil, nil, "" }, "ForceOff On", "Pxe Once "},
		{"it boots by HTTP alone", func(b *board) { b.targets = []string{"None", "UefiHttp"} }, "ForceOff On", "UefiHttp Once UEFI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBoard()
			tt.change(b)
			if err := power.Cycle(t.Context(), b.start(t, ""), quickly()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(b.resets, " "); got != tt.resets || b.state != "On" {
				t.Errorf("resets %s, state %s; want %s", got, b.state, tt.resets)
			}
			got := b.boot["BootSourceOverrideTarget"] + " " + b.boot["BootSourceOverrideEnabled"] + " " + b.boot["BootSourceOverrideMode"]
			if got != tt.boot {
				t.Errorf("boot %q, want %q", got, tt.boot)
			}
		})
	}
}

func TestRedfishRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*board)
		path   string
		is     error
		want   string
	}{
		{"no network boot", func(b *board) { b.targets = []string{"None", "Hdd", "Cd"} }, "", power.ErrUnsupported,
			"making it boot from the network: the controller cannot do that: of the ways to boot from it has None, Hdd, Cd, and none of Pxe, UefiHttp"},
		{"no hard power off", func(b *board) { b.resetTypes = []string{"On", "GracefulShutdown"} }, "", power.ErrUnsupported,
			"switching it off: the controller cannot do that: of the ways to reset a system it has On, GracefulShutdown, and none of ForceOff, PushPowerButton"},
		{"several systems", func(b *board) { b.systems = append(b.systems, "/redfish/v1/Systems/2") }, "", nil,
			"the controller has 2 systems, name one in its URL: /redfish/v1/Systems/1, /redfish/v1/Systems/2"},
		{"no such system", func(*board) {}, "/redfish/v1/Systems/9", nil, "GET /redfish/v1/Systems/9: the controller answered 404: There is no /redfish/v1/Systems/9."},
		{"a state of its own", func(b *board) { b.state = "Sleeping" }, "", nil, `there is no power state "Sleeping"`},
		{"an action elsewhere", func(b *board) { b.badTarget = "https://elsewhere.example/reset" }, "", nil,
			`switching it off: the controller names "https://elsewhere.example/reset", which is no path of it`},
		{"it stays on", func(b *board) { b.stubborn = true }, "", nil, "switching it off: it is on after 200ms: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBoard()
			tt.change(b)
			err := power.Cycle(t.Context(), b.start(t, tt.path), power.CycleOptions{Patience: 200 * time.Millisecond, Pause: time.Millisecond})
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), "calvin") {
				t.Error("the password is in the error")
			}
		})
	}
}

func TestRedfishTrust(t *testing.T) {
	b := newBoard()
	server := httptest.NewTLSServer(b)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write(t, dir, "password", "calvin\n")
	write(t, dir, "wrong", "wrong\n")
	entry := func(password, more string) string {
		return "redfish: {url: " + server.URL + ", user: root, passwordFile: " + password + more + "}"
	}
	digest := fmt.Sprintf("%X", sum(server.Certificate().Raw))
	var colons string
	for i := 0; i < len(digest); i += 2 {
		colons += ":" + digest[i:i+2]
	}
	for _, tt := range []struct{ name, entry, want string }{
		{"its digest", entry("password", ", certificateSHA256: "+digest), ""},
		{"its digest, as openssl prints it", entry("password", ", certificateSHA256: '"+colons[1:]+"'"), ""},
		{"another digest", entry("password", ", certificateSHA256: "+strings.Repeat("AB", 32)), "the certificate of the controller is not the one whose SHA-256 the document has: it is " + strings.ToLower(digest)},
		{"nobody whom we know", entry("password", ""), "certificate"},
		{"a wrong password", entry("wrong", ", certificateSHA256: "+digest), "the controller answered 401: Authentication failed. is the password right?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := open(t, dir, tt.entry).State(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
