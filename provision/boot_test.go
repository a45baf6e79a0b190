package provision_test

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/inventory"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		writeFile(t, path, []byte(got))
		t.Errorf("%s was written: run again without -update", path)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		golden string
		path   string
		arm    bool
		after  time.Duration
		change func(*provision.Options)
	}{
		{"find.ipxe", "/boot.ipxe", false, 0, nil},
		{"closed.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", false, 0, nil},
		{"armed.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", true, 0, nil},
		{"armed.ipxe", "/boot/machine.ipxe?mac=52:54:00:00:00:01", true, 0, nil},
		{"arguments.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", true, 0, func(o *provision.Options) { o.KernelArguments = []string{"k8snode.install=1", "rd.neednet=1"} }},
		{"ended.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", true, time.Hour, nil},
		{"closed-b.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-02", true, 0, nil},
		{"unknown.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-99", true, 0, nil},
		{"conflict.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01&mac=52-54-00-00-00-02", true, 0, nil},
		{"exit.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", false, 0, func(o *provision.Options) { o.Inventory[0].LocalBoot = inventory.Exit }},
		{"fail.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-01", false, 0, func(o *provision.Options) { o.Inventory[0].LocalBoot = inventory.Fail }},
		{"unknown-name.ipxe", "/boot/machine.ipxe?mac=52-54-00-00-00-99", true, 0, func(o *provision.Options) { o.InventoryName = "a ${b} && c\nreboot" }},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			f := newFixture(t, tt.change)
			if tt.arm {
				f.arm()
			}
			f.clock.add(tt.after)
			got := f.from(addrA, "GET", f.boot.URL+tt.path, "", "")
			if got.status != http.StatusOK || got.header.Get("Content-Length") == "" {
				t.Fatalf("%d, headers %v", got.status, got.header)
			}
			golden(t, tt.golden, got.body)
		})
	}
}

// To fetch a script proves nothing: the state stays as it is.
func TestScriptsChangeNothing(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	before := f.node()
	for range 10 {
		f.from(thief, "GET", f.boot.URL+scriptURL, "", "")
		f.from(addrA, "HEAD", f.boot.URL+scriptURL, "", "")
	}
	if after := f.node(); after.Phase != api.PhaseArmed || after.Refused != before.Refused {
		t.Errorf("node %+v, want %+v", after, before)
	}
}

// A machine that installs again and again is asked to wait, not to start what is
// on its disk: that may be half an image.
func TestHeldScript(t *testing.T) {
	f := newFixture(t, func(o *provision.Options) { o.Limits.MaxPlans = 1 })
	f.arm()
	f.plan(f.seed().Token)
	f.from(addrA, "GET", f.api.URL+api.PathInstall, f.seed().Token, "")
	got := f.from(addrA, "GET", f.boot.URL+scriptURL, "", "")
	golden(t, "held.ipxe", got.body)
	f.clock.add(time.Hour)
	if got = f.from(addrA, "GET", f.boot.URL+scriptURL, "", ""); !strings.Contains(got.body, "booting the local disk") {
		t.Errorf("the script when the window is over:\n%s", got.body)
	}
}

// Two machines with one UUID, or a cable in the wrong machine: the second is not
// what the install was begun with.
func TestAnotherMachine(t *testing.T) {
	const uuid = "4c4c4544-0051-3410-8052-b4c04f4d3132"
	f := newFixture(t, func(o *provision.Options) { o.Inventory[0].UUID = uuid })
	f.arm()
	seed := func(query string) answer {
		return f.from(addrA, "GET", f.boot.URL+"/seed/machine.cpio?"+query, "", "")
	}
	first := seed("mac=52-54-00-00-00-01&uuid=" + uuid)
	if first.status != http.StatusOK {
		t.Fatalf("%d %s", first.status, first.body)
	}
	f.plan(openSeed(t, first.body).Token)
	// The next boot loader sees another interface of the same board.
	if got := seed("mac=52-54-00-00-00-aa&uuid=" + uuid); got.status != http.StatusOK {
		t.Errorf("the same machine: %d %s", got.status, got.body)
	}
	if got := seed("mac=52-54-00-00-00-bb"); got.status != http.StatusNotFound {
		t.Errorf("a stranger: %d %s", got.status, got.body)
	}
	f.arm()
	second := seed("mac=52-54-00-00-00-01")
	f.plan(openSeed(t, second.body).Token)
	if got := seed("mac=52-54-00-00-00-cc&uuid=" + uuid); got.status != http.StatusNotFound {
		t.Errorf("another machine: %d %s", got.status, got.body)
	}
	f.wantRefused(addrA, "seed", "another machine has begun this install: 52:54:00:00:00:01")
}

func TestStrangers(t *testing.T) {
	f := newFixture(t, nil)
	for range 3 {
		f.from(thief, "GET", f.boot.URL+"/boot/machine.ipxe?mac=52-54-00-00-00-99&product=R640&serial=ABC1", "", "")
	}
	got, err := f.srv.Strangers(context.Background())
	if err != nil || len(got) != 1 || got[0].Count != 3 || got[0].MACs[0] != "52:54:00:00:00:99" || got[0].Product != "R640" || got[0].Serial != "ABC1" || got[0].Address != thief {
		t.Errorf("strangers %+v", got)
	}
}

func TestBootRefuses(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404},
		{"GET", "/boot/", 404},
		{"GET", "/boot/a.ipxe", 404},
		{"GET", "/boot/machine.ipxe?mac=52-54", 400},
		{"GET", "/boot/52-54-00-00-00-01", 404},
		{"GET", "/boot/machine.ipxe?mac=52-54-00-00-00-01-", 400},
		{"GET", "/seed/machine.cpio?mac=52-54-00-00-00-99", 404},
		{"GET", "/seed/machine.cpio?mac=%zz", 400},
		{"HEAD", "/seed/machine.cpio?mac=52-54-00-00-00-01", 405},
		{"POST", "/seed/machine.cpio?mac=52-54-00-00-00-01", 405},
		{"POST", "/boot.ipxe", 405},
		{"GET", "/v1/install", 404},
		{"GET", "/nodes", 404},
		{"GET", "/artifacts/", 404},
		{"GET", "/artifacts/other/pxe/vmlinuz", 404},
		{"GET", "/artifacts/0123abcd/", 404},
		{"GET", "/artifacts/0123abcd/pxe", 404},
		{"GET", "/artifacts/0123abcd/notes.txt", 404},
		{"GET", "/artifacts/0123abcd/pxe/../notes.txt", 404},
		{"GET", "/artifacts/0123abcd/pxe/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 404},
		{"GET", "/artifacts/0123abcd//etc/passwd", 404},
		{"GET", "/artifacts/0123abcd/pxe%5cvmlinuz", 404},
		{"GET", "/artifacts/0123abcd/../0123abcd/pxe/vmlinuz", 404},
		{"PUT", "/artifacts/0123abcd/pxe/vmlinuz", 405},
	} {
		if got := f.from(addrA, tt.method, f.boot.URL+tt.path, "", ""); got.status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got.status, tt.status)
		}
	}
	f.wantAudit(`"action":"seed","result":"refused","detail":"52:54:00:00:00:99: the machine is not in the inventory"`)
	if n := f.node(); n.Refused != 0 {
		t.Errorf("node a was refused %d times by what is not about it", n.Refused)
	}
}

func TestSeed(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	s := f.seed()
	if s.Node != "a" || s.Server != "https://127.0.0.1:8443" || s.CA != string(f.opts.CA) || !strings.HasPrefix(s.Token, "a.") {
		t.Errorf("seed %+v", s)
	}
	f.wantAudit(`"node":"a","address":"127.0.0.1","action":"seed","result":"granted","detail":"52:54:00:00:00:01"`)
	if strings.Contains(f.audit.String(), s.Token) {
		t.Error("the audit holds the token")
	}
	if n := f.node(); n.Phase != api.PhaseArmed {
		t.Errorf("phase %s after a seed, want armed", n.Phase)
	}
}

func TestSeedRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*fixture)
		from    string
		reason  string
	}{
		{"closed window", func(*fixture) {}, addrA, "no install window is open"},
		{"expired window", func(f *fixture) { f.arm(); f.clock.add(time.Hour) }, addrA, "the install window has ended"},
		{"another address", func(f *fixture) { f.arm() }, thief, "the request is not from the node's own address"},
		{"config delivered", func(f *fixture) { f.fetchConfig(addrA, f.configToken()) }, addrA, "the config of this install was fetched already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			tt.prepare(f)
			got := f.from(tt.from, "GET", f.boot.URL+seedURL, "", "")
			if got.status != http.StatusNotFound || strings.Contains(got.body, "a.") {
				t.Errorf("%d %s", got.status, got.body)
			}
			f.wantRefused(tt.from, "seed", tt.reason)
		})
	}
}

// A header that claims another source is not believed.
func TestForwardedForIsNotRead(t *testing.T) {
	f := newFixture(t, nil)
	f.arm()
	got := f.from(thief, "GET", f.boot.URL+seedURL, "", "", "X-Forwarded-For", addrA, "Forwarded", "for="+addrA, "X-Real-IP", addrA)
	if got.status != http.StatusNotFound {
		t.Errorf("%d, want 404", got.status)
	}
	f.wantRefused(thief, "seed", "the request is not from the node's own address")
}

func TestArtifacts(t *testing.T) {
	f := newFixture(t, nil)
	for _, a := range f.image().Manifest.Artifacts {
		url := f.boot.URL + "/artifacts/" + imageID + "/" + a.Path
		content := "content of " + a.Path
		etag := `"` + a.SHA256 + `"`
		for _, tt := range []struct {
			name    string
			method  string
			headers []string
			status  int
			body    string
		}{
			{"whole", "GET", nil, 200, content},
			{"head", "HEAD", nil, 200, ""},
			{"range", "GET", []string{"Range", "bytes=2-5"}, 206, content[2:6]},
			{"rest", "GET", []string{"Range", "bytes=8-", "If-Range", etag}, 206, content[8:]},
			{"range of another version", "GET", []string{"Range", "bytes=8-", "If-Range", `"x"`}, 200, content},
			{"cached", "GET", []string{"If-None-Match", etag}, 304, ""},
			{"beyond", "GET", []string{"Range", "bytes=9999-"}, 416, "invalid range: failed to overlap\n"},
		} {
			got := f.from(thief, tt.method, url, "", "", tt.headers...)
			if got.status != tt.status || got.body != tt.body {
				t.Errorf("%s %s: %d %q, want %d %q", a.Path, tt.name, got.status, got.body, tt.status, tt.body)
			}
			if tt.status < 400 && got.header.Get("ETag") != etag {
				t.Errorf("%s %s: ETag %s, want %s", a.Path, tt.name, got.header.Get("ETag"), etag)
			}
		}
	}
}

// A file that changes while it is served is not served under the digest of the one
// that was there, whatever its size and its time; one that is replaced by itself is.
func TestArtifactsChangeUnderUs(t *testing.T) {
	var log lockedBuffer
	f := newFixture(t, func(o *provision.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, path := range []string{images.DiskFile, images.KernelFile, images.InitrdFile} {
		file := filepath.Join(f.image().Dir, filepath.FromSlash(path))
		good := "content of " + path
		fetch := func() answer { return f.from(addrA, "GET", f.boot.URL+"/artifacts/"+imageID+"/"+path, "", "") }
		if got := fetch(); got.status != http.StatusOK || got.body != good {
			t.Fatalf("%s: %d %q", path, got.status, got.body)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := strings.ToUpper(good)
		replace := func(content string) {
			t.Helper()
			writeFile(t, file+".new", []byte(content))
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}
		for _, change := range []struct {
			name   string
			do     func()
			status int
		}{
			{"written to, with its old time", func() {
				writeFile(t, file, []byte(bad))
				if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}, http.StatusServiceUnavailable},
			{"asked for again", func() {}, http.StatusServiceUnavailable},
			{"put back", func() { replace(good) }, http.StatusOK},
			{"replaced by another", func() { replace(bad) }, http.StatusServiceUnavailable},
			{"replaced by itself", func() { replace(good) }, http.StatusOK},
		} {
			change.do()
			got := fetch()
			if got.status != change.status || got.status == http.StatusOK && got.body != good || strings.Contains(got.body, bad) {
				t.Errorf("%s, %s: %d %q, want %d", path, change.name, got.status, got.body, change.status)
			}
		}
	}
	if !strings.Contains(log.String(), images.DiskFile+" was changed after the bake: its digest is ") {
		t.Errorf("the operator does not hear why:\n%s", log.String())
	}
}

// A folder that is not that of the manifest is not served as if it were.
func TestArtifactsOfAnotherBake(t *testing.T) {
	f := newFixture(t, nil)
	disk := filepath.Join(f.image().Dir, images.DiskFile)
	writeFile(t, disk, []byte("another length"))
	kernel := filepath.Join(f.image().Dir, filepath.FromSlash(images.KernelFile))
	if err := os.Remove(kernel); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	writeFile(t, outside, []byte("content of "+images.InitrdFile))
	initrd := filepath.Join(f.image().Dir, filepath.FromSlash(images.InitrdFile))
	if err := os.Remove(initrd); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, initrd); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{images.DiskFile, images.KernelFile, images.InitrdFile} {
		if got := f.from(addrA, "GET", f.boot.URL+"/artifacts/"+imageID+"/"+path, "", ""); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %q, want 503", path, got.status, got.body)
		}
	}
}
