package provision_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

// operator is a client of the fixture's server.
func (f *fixture) operator() *admin.Client {
	f.t.Helper()
	socket := filepath.Join(f.t.TempDir(), "run", "admin.sock")
	l, err := admin.Listen(socket)
	if err != nil {
		f.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(f.srv.AdminHandler())
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	f.t.Cleanup(srv.Close)
	return admin.NewClient(socket)
}

// another writes an image with another ID.
func another(t *testing.T, id string) string {
	t.Helper()
	dir, m := imageFolder(t)
	m.ID, m.Name, m.Kubernetes = id, "node", "v1.37.2"
	writeManifest(t, dir, m)
	return dir
}

// A node keeps the image that was active when it was armed.
func TestImageOfInstall(t *testing.T) {
	ctx := context.Background()
	var rendered []string
	f := newFixture(t, func(o *provision.Options) {
		var err error
		if o.Images, err = library.Open(filepath.Join(t.TempDir(), "images"), library.Options{}); err != nil {
			t.Fatal(err)
		}
		config := o.Config
		o.Config = func(ctx context.Context, r provision.ConfigRequest) ([]byte, error) {
			rendered = append(rendered, r.Image.ID)
			return config(ctx, r)
		}
	})
	client := f.operator()
	if _, err := client.Arm(ctx, "a", admin.ArmOptions{For: time.Hour}); !errors.Is(err, library.ErrNoCurrent) {
		t.Errorf("armed without an image: %v", err)
	}
	if got := f.from(addrA, "GET", f.boot.URL+"/boot/ipxe.efi", "", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("a loader without an image: %d", got.status)
	}
	must := func(_ images.Manifest, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(publish.Image(ctx, another(t, "aaaa"), client, publish.Options{After: publish.Activate}))
	f.arm()
	must(publish.Image(ctx, another(t, "bbbb"), client, publish.Options{After: publish.Activate}))

	script := f.from(addrA, "GET", f.boot.URL+scriptURL, "", "")
	if !strings.Contains(script.body, "/artifacts/aaaa/pxe/vmlinuz") || strings.Contains(script.body, "bbbb") {
		t.Errorf("script:\n%s", script.body)
	}
	plan, s := f.plan(f.seed().Token)
	if plan.Image.ID != "aaaa" || !strings.Contains(plan.Image.DiskURL, "/artifacts/aaaa/") {
		t.Errorf("plan: %+v", plan.Image)
	}
	if got := f.fetchConfig(addrA, s.Token); got.status != http.StatusOK {
		t.Errorf("config: %d", got.status)
	}
	if err := client.Remove(ctx, "aaaa"); err == nil || err.Error() != `removing image "aaaa": node "a" is armed with it: disarm it first` {
		t.Errorf("removed: %v", err)
	}
	if err := client.Remove(ctx, "bbbb"); !errors.Is(err, library.ErrCurrent) {
		t.Errorf("removed the active one: %v", err)
	}
	f.arm()
	if plan, _ := f.plan(f.seed().Token); plan.Image.ID != "bbbb" {
		t.Errorf("the next install: %+v", plan.Image)
	}
	if len(rendered) != 1 || rendered[0] != "aaaa" {
		t.Errorf("configs were rendered for %v", rendered)
	}
	for _, id := range []string{"aaaa", "bbbb"} {
		if got := f.from(addrA, "GET", f.boot.URL+"/artifacts/"+id+"/pxe/vmlinuz", "", ""); got.body != "content of pxe/vmlinuz" {
			t.Errorf("%s: %d %q", id, got.status, got.body)
		}
	}
	for _, path := range []string{"/artifacts/cccc/pxe/vmlinuz", "/artifacts/.incoming/aaaa/manifest.json", "/artifacts/../x", "/artifacts/aaaa/manifest.json.minisig", "/artifacts/aaaa"} {
		if got := f.from(addrA, "GET", f.boot.URL+path, "", ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	f.wantAudit(`"action":"publish","result":"asked","detail":"image aaaa"`)
	f.wantAudit(`"action":"activate","result":"granted","detail":"image bbbb"`)
	f.wantAudit(`"action":"arm","result":"granted"`)

	manifest, err := os.ReadFile(filepath.Join(another(t, "dddd"), images.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Begin(ctx, library.Offer{Manifest: manifest}); err != nil {
		t.Fatal(err)
	}
	all, err := client.Images(ctx)
	if len(all) != 3 || all[2].ID != "dddd" || all[2].Upload == nil || all[2].Size != all[0].Size || all[2].Upload.Have != all[0].Size {
		t.Errorf("an upload whose bytes are known: %+v", all)
	}
	if err != nil || all[0].Upload != nil || all[0].Active || !all[1].Active || all[0].Kubernetes != "v1.37.2" || all[0].Size == 0 {
		t.Errorf("images: %+v, %v", all, err)
	}
}

// An image that could not be installed is not activated.
func TestImageThatDoesNotFit(t *testing.T) {
	ctx := context.Background()
	unfit := errors.New("it has another Kubernetes")
	f := newFixture(t, func(o *provision.Options) {
		var err error
		if o.Images, err = library.Open(filepath.Join(t.TempDir(), "images"), library.Options{}); err != nil {
			t.Fatal(err)
		}
		o.Fits = func(m images.Manifest) error {
			if m.ID == "bbbb" {
				return unfit
			}
			return nil
		}
	})
	client := f.operator()
	if _, err := publish.Image(ctx, another(t, "aaaa"), client, publish.Options{After: publish.Activate}); err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Image(ctx, another(t, "bbbb"), client, publish.Options{After: publish.Activate}); err == nil || err.Error() != "activating an image: "+unfit.Error() {
		t.Errorf("activated: %v", err)
	}
	if f.image().Manifest.ID != "aaaa" {
		t.Errorf("active: %s", f.image().Manifest.ID)
	}
}

// What an install needs of an image that somebody removed by hand is refused,
// and the operator hears why.
func TestImageThatIsGone(t *testing.T) {
	const reason = "the image of this install is gone: arm the node again"
	for name, tt := range map[string]struct {
		// upTo goes as far as the image is there for, and returns a token.
		upTo   func(*fixture) string
		ask    func(*fixture, string) answer
		action string
		status int
	}{
		"seed": {
			func(f *fixture) string { f.arm(); return "" },
			func(f *fixture, _ string) answer {
				return f.from(addrA, "GET", f.boot.URL+seedURL, "", "")
			}, "seed", http.StatusNotFound,
		},
		"plan": {
			func(f *fixture) string { f.arm(); return f.seed().Token },
			func(f *fixture, token string) answer {
				return f.from(addrA, "GET", f.api.URL+api.PathInstall, token, "")
			}, "plan", http.StatusForbidden,
		},
		"config": {
			(*fixture).configToken,
			func(f *fixture, token string) answer { return f.fetchConfig(addrA, token) },
			"config", http.StatusForbidden,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			token := tt.upTo(f)
			if err := os.RemoveAll(f.image().Dir); err != nil {
				t.Fatal(err)
			}
			if got := tt.ask(f, token); got.status != tt.status {
				t.Errorf("%d, want %d", got.status, tt.status)
			}
			f.wantRefused(addrA, tt.action, reason)
			if name == "config" {
				return // the machine is past its boot script
			}
			script := f.from(addrA, "GET", f.boot.URL+scriptURL, "", "")
			if !strings.Contains(script.body, reason) || strings.Contains(script.body, "/artifacts/") {
				t.Errorf("script:\n%s", script.body)
			}
		})
	}
}
