package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// serve starts a TLS server and returns a client for it.
func serve(t *testing.T, handler http.HandlerFunc) (*client.Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := client.New(api.Seed{Node: "w1", Server: server.URL + "/", CA: string(ca), Token: "secret"},
		client.Options{Timeout: 2 * time.Second, Idle: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c, server
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		seed api.Seed
		want string
	}{
		{api.Seed{Token: "t"}, "reading seed: node is empty"},
		{api.Seed{Node: "n"}, "reading seed: token is empty"},
		{api.Seed{Node: "n", Token: "t", Server: "http://10.0.0.1"}, `reading seed: server "http://10.0.0.1" is not an https URL`},
		{api.Seed{Node: "n", Token: "t", Server: "https://"}, `reading seed: server "https://" is not an https URL`},
		{api.Seed{Node: "n", Token: "t", Server: "https://10.0.0.1", CA: "x"}, "reading seed: ca holds no PEM certificate"},
	} {
		if _, err := client.New(tt.seed, client.Options{}); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	var got []string
	status := http.StatusOK
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Content-Type")+" "+string(body))
		w.WriteHeader(status)
		io.WriteString(w, "token is\nburned")
	})
	report := api.Report{Phase: api.PhaseInstalling, Step: "write", Done: 1, Total: 2}
	if err := c.Report(context.Background(), report); err != nil {
		t.Fatal(err)
	}
	want := `POST /v1/report Bearer secret application/json {"phase":"installing","step":"write","done":1,"total":2}`
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for code, permanent := range map[int]bool{403: true, 409: true, 301: true, 500: false, 503: false} {
		status = code
		err := c.Report(context.Background(), report)
		var answer *client.StatusError
		if !errors.As(err, &answer) || answer.Code != code || answer.Message != "token is burned" {
			t.Errorf("%d: got %v", code, err)
		}
		if retry.IsPermanent(err) != permanent {
			t.Errorf("%d: permanent is %v", code, !permanent)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the token is in %v", err)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	good := api.InstallPlan{
		Node: "w1", Stub: []byte("{}"),
		Image: api.InstallImage{DiskURL: "http://h/d", BlockMapURL: "http://h/b", BlockMapSHA256: strings.Repeat("0", 64)},
	}
	for _, tt := range []struct {
		name   string
		change func(*api.InstallPlan)
		want   string
	}{
		{"good", func(*api.InstallPlan) {}, ""},
		{"disk URL", func(p *api.InstallPlan) { p.Image.DiskURL = "file:///d" }, `image.diskURL "file:///d" is not an http URL`},
		{"block map URL", func(p *api.InstallPlan) { p.Image.BlockMapURL = "" }, `image.blockMapURL "" is not an http URL`},
		{"signed", func(p *api.InstallPlan) {
			p.Image.ManifestURL, p.Image.SignatureURL = "http://h/m", "http://h/m.minisig"
		}, ""},
		{"manifest URL", func(p *api.InstallPlan) { p.Image.ManifestURL = "manifest.json" }, `image.manifestURL "manifest.json" is not an http URL`},
		{"signature URL", func(p *api.InstallPlan) { p.Image.SignatureURL = "file:///s" }, `image.signatureURL "file:///s" is not an http URL`},
		{"digest", func(p *api.InstallPlan) { p.Image.BlockMapSHA256 = "00" }, `image.blockMapSHA256 "00" is not a SHA-256 digest`},
		{"node", func(p *api.InstallPlan) { p.Node = "" }, `the plan is for node "", this machine is "w1"`},
		{"stub", func(p *api.InstallPlan) { p.Stub = nil }, "stub is empty: the node would start without an identity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := good
			tt.change(&plan)
			c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(plan) })
			_, err := c.Plan(context.Background())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if want := "reading install plan: " + tt.want; err == nil || err.Error() != want || !retry.IsPermanent(err) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestRange(t *testing.T) {
	content := "0123456789"
	c, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			w.Header().Set("Content-Range", "bytes 0-3/10")
			w.WriteHeader(http.StatusPartialContent)
		case "/whole":
			io.WriteString(w, content)
		case "/redirect":
			http.Redirect(w, r, "/file", http.StatusFound)
		case "/slow":
			w.Header().Set("Content-Range", "bytes 2-5/10")
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, "23")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}
	})
	for path, want := range map[string]string{
		"/file":     "2345",
		"/other":    `asked for bytes=2-5, server answered Content-Range "bytes 0-3/10"`,
		"/whole":    "server ignores Range requests",
		"/redirect": "server answered 302 Found",
		"/slow":     "server sent nothing for 200ms",
	} {
		body, err := c.Range(context.Background(), server.URL+path, 2, 4)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(body)
			body.Close()
		}
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && string(data) != want {
			t.Errorf("%s: got %q, %v; want %s", path, data, err, want)
		}
		if wantPermanent := path != "/file" && path != "/slow"; retry.IsPermanent(err) != wantPermanent {
			t.Errorf("%s: permanent is %v", path, !wantPermanent)
		}
	}
}

// A machine whose clock is wrong hears that it is the clock.
func TestClockBehind(t *testing.T) {
	_, server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := client.New(api.Seed{Node: "w1", Server: server.URL, CA: string(ca), Token: "secret"},
		client.Options{Now: func() time.Time { return time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Plan(context.Background())
	if err == nil || !strings.Contains(err.Error(), "current time 1969-01-01T00:00:00Z is before") ||
		!strings.HasSuffix(err.Error(), "; if that is not the time, set the clock of this machine in its firmware") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadLimit(t *testing.T) {
	c, server := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "0123456789") })
	if data, err := c.Download(context.Background(), server.URL, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := c.Download(context.Background(), server.URL, 9); err == nil || !strings.HasSuffix(err.Error(), "answer is larger than 9 bytes") {
		t.Errorf("got %v", err)
	}
}

// Progress does not wait for a slow server; Final comes last and is the last.
func TestReporter(t *testing.T) {
	var mu sync.Mutex
	var got []api.Report
	release := make(chan struct{})
	r := client.NewReporter(context.Background(), func(ctx context.Context, report api.Report) error {
		mu.Lock()
		got = append(got, report)
		mu.Unlock()
		if report.Phase == api.PhaseInstalling {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return nil
	}, client.ReporterOptions{Interval: time.Nanosecond})
	for i := range 1000 {
		r.Progress(api.Report{Phase: api.PhaseInstalling, Done: int64(i)})
	}
	if err := r.Final(context.Background(), api.Report{Phase: api.PhaseInstalled}); err != nil {
		t.Fatal(err)
	}
	r.Progress(api.Report{Phase: api.PhaseInstalling})
	close(release)
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 || len(got) > 3 || got[len(got)-1].Phase != api.PhaseInstalled {
		t.Errorf("reports: %+v", got)
	}
}

func TestReporterFinalRetries(t *testing.T) {
	tries := 0
	r := client.NewReporter(context.Background(), func(context.Context, api.Report) error {
		if tries++; tries < 2 {
			return errors.New("unreachable")
		}
		return nil
	}, client.ReporterOptions{})
	if err := r.Final(context.Background(), api.Report{Phase: api.PhaseInstalled}); err != nil || tries != 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

// A machine without a token asks, and is told; what the answer says of the server does
// not count.
func TestAsker(t *testing.T) {
	var action string
	_, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.RawQuery != "mac=a&mac=b" {
			http.Error(w, "who are you?", http.StatusBadRequest)
			return
		}
		if r.URL.Path == api.PathSeed {
			json.NewEncoder(w).Encode(api.Seed{Node: "w1", Server: "https://elsewhere", CA: "x", Token: "t"})
			return
		}
		fmt.Fprintf(w, `{"node": "w1", "action": %q}`, action)
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	a, err := client.NewAsker(api.Seed{Server: server.URL, CA: string(ca)}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	facts := url.Values{"mac": {"a", "b"}}
	action = "wait"
	if answer, err := a.Boot(t.Context(), facts); err != nil || answer.Action != api.ActionWait || answer.Node != "w1" {
		t.Errorf("%+v, %v", answer, err)
	}
	action = "dance"
	if _, err := a.Boot(t.Context(), facts); err == nil || err.Error() != `asking what to do: the server says "dance", which this image does not know` {
		t.Errorf("got %v", err)
	}
	if seed, err := a.Seed(t.Context(), facts); err != nil || seed != (api.Seed{Node: "w1", Server: server.URL, CA: string(ca), Token: "t"}) {
		t.Errorf("%+v, %v", seed, err)
	}
	if _, err := a.Seed(t.Context(), nil); err == nil || !strings.HasSuffix(err.Error(), "server answered 400 Bad Request: who are you?") {
		t.Errorf("got %v", err)
	}
	if _, err := client.NewAsker(api.Seed{Server: "http://a"}, client.Options{}); err == nil {
		t.Error("a server without TLS")
	}
}
