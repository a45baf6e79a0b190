package builder_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/source/debtest"
	"github.com/k8snode/k8snode/images"
)

// archive is what both suites of a Debian archive offer: the day that a lock
// was made on.
func archive() (suite, backports []debtest.Package) {
	return []debtest.Package{
			{Name: "base-files", Version: "13", Essential: true},
			{Name: "curl", Version: "8.1", Depends: "libcurl"},
			{Name: "libcurl", Version: "8.1"},
			{Name: "linux-image-amd64", Version: "6.12"},
			{Name: "ipxe", Version: "1.21"},
			{Name: "systemd-boot-efi", Version: "257"},
		}, []debtest.Package{
			{Name: "linux-image-amd64", Version: "7.3", Depends: "linux-image-7.3"},
			{Name: "linux-image-7.3", Version: "7.3"},
		}
}

// lab is a machine that bakes, and its mirror.
type lab struct {
	t      *testing.T
	mirror *debtest.Mirror
	spec   images.Spec
	o      builder.Options
	log    *bytes.Buffer
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if err := source.LookTools("apt-get", "apt-cache", "dpkg"); err != nil {
		t.Skipf("resolving needs apt: %v", err)
	}
	m, err := debtest.New()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, mirror: m, log: new(bytes.Buffer)}
	l.set(nil)
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	key, err := m.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l.o = builder.Options{
		Cache: source.Cache{Dir: filepath.Join(dir, "cache")}, Env: os.Environ(),
		Mirror: server.URL + "/debian", Keyring: filepath.Join(dir, "key.gpg"), Lock: filepath.Join(dir, "small.lock.json"),
		LockCommand: "k8snode lock --recipe small.yaml", Attempts: 1,
		Logger: slog.New(slog.NewTextHandler(l.log, nil)),
	}
	if err := os.WriteFile(l.o.Keyring, key, 0o644); err != nil {
		t.Fatal(err)
	}
	l.spec = images.Spec{
		Epoch:        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Distribution: images.Distribution{Suite: "trixie", Components: []string{"main"}},
		Kernel:       images.Kernel{Package: "linux-image-amd64", Suite: "trixie-backports"},
		Packages:     []string{"curl"},
	}
	return l
}

// set makes the archive that of another day.
func (l *lab) set(change func(suite, backports []debtest.Package) (a, b []debtest.Package)) {
	l.t.Helper()
	suite, backports := archive()
	if change != nil {
		suite, backports = change(suite, backports)
	}
	if err := errors.Join(l.mirror.Set("trixie", suite...), l.mirror.Set("trixie-backports", backports...)); err != nil {
		l.t.Fatal(err)
	}
}

// newCurl is a day on which the archive has replaced a package.
func newCurl(suite, backports []debtest.Package) (a, b []debtest.Package) {
	for i := range suite {
		if suite[i].Name == "curl" {
			suite[i].Version = "8.2"
		}
	}
	return suite, backports
}

func (l *lab) lockAndFetch() (builder.Lock, error) {
	l.log.Reset()
	return builder.LockAndFetch(l.t.Context(), l.spec, l.o)
}

// pins are the packages of a lock's root.
func pins(l builder.Lock) string {
	var list []string
	for _, d := range l.Root {
		list = append(list, d.Package+"="+d.Version)
	}
	return strings.Join(list, " ")
}

// lines are what was logged about the lock.
func (l *lab) lines() string {
	var kept []string
	for line := range strings.Lines(l.log.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		if strings.Contains(text, "lock") {
			kept = append(kept, strings.ReplaceAll(text, filepath.Dir(l.o.Lock), "DIR"))
		}
	}
	return strings.Join(kept, "\n")
}

const (
	firstPins = "base-files=13 curl=8.1 libcurl=8.1 linux-image-7.3=7.3 linux-image-amd64=7.3"
	newPins   = "base-files=13 curl=8.2 libcurl=8.1 linux-image-7.3=7.3 linux-image-amd64=7.3"
)

// What a bake does with its lock, one day after the other.
func TestLockAndFetch(t *testing.T) {
	l := newLab(t)
	bake := func(want, lines string) []byte {
		t.Helper()
		lock, err := l.lockAndFetch()
		if err != nil {
			t.Fatal(err)
		}
		if got := pins(lock); got != want {
			t.Errorf("locked %s, want %s", got, want)
		}
		if diff := cmp.Diff(lines, l.lines()); diff != "" {
			t.Errorf("said: %s", diff)
		}
		file, err := os.ReadFile(l.o.Lock)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(file, lock.Marshal()) {
			t.Errorf("the lock that was used is not the one in the file:\n%s", file)
		}
		return file
	}

	// There is none: it is made.
	first := bake(firstPins, `"wrote the lock" path=DIR/small.lock.json`)
	if bytes.Contains(first, []byte("127.0.0.1")) || bytes.Contains(first, []byte("http")) {
		t.Errorf("the lock names the mirror:\n%s", first)
	}
	l.mirror.Requests()

	// It is used, and nobody is asked for anything.
	bake(firstPins, "")
	if asked := l.mirror.Requests(); len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}

	// The archive moves on. What is cached is not gone.
	l.set(newCurl)
	bake(firstPins, "")

	// On another machine it is.
	l.o.Cache.Dir = t.TempDir()
	second := bake(newPins, `"the lock is made anew" reason="1 input is gone from the mirrors: curl=8.1"
"the lock changed" what="curl 8.1 → 8.2"
"wrote the lock" path=DIR/small.lock.json`)
	if bytes.Equal(first, second) {
		t.Error("the file did not change")
	}

	// The recipe changes.
	l.spec.Packages = []string{"libcurl"}
	bake("base-files=13 libcurl=8.1 linux-image-7.3=7.3 linux-image-amd64=7.3",
		`"the lock is made anew" reason="the recipe changed since DIR/small.lock.json was made: + package libcurl, - package curl"
"the lock changed" what="curl 8.2 → (none)"
"wrote the lock" path=DIR/small.lock.json`)

	// The order of packages is nobody's business.
	l.spec.Packages = []string{"libcurl", "curl"}
	bake(newPins, `"the lock is made anew" reason="the recipe changed since DIR/small.lock.json was made: + package curl"
"the lock changed" what="curl (none) → 8.2"
"wrote the lock" path=DIR/small.lock.json`)
	l.spec.Packages = []string{"curl", "libcurl"}
	bake(newPins, "")
}

// With --locked and --offline each of these is refused instead, and the lock
// is left as it is.
func TestLockForbidden(t *testing.T) {
	for _, tc := range []struct {
		name            string
		change          func(t *testing.T, l *lab)
		locked, offline string
	}{
		{
			"nothing changed", func(*testing.T, *lab) {}, "", "",
		}, {
			"no lock", func(t *testing.T, l *lab) {
				if err := os.Remove(l.o.Lock); err != nil {
					t.Fatal(err)
				}
			},
			`there is no lock DIR/small.lock.json; --locked does not change the lock: run "k8snode lock --recipe small.yaml"`,
			`there is no lock DIR/small.lock.json; --offline does not change the lock: run "k8snode lock --recipe small.yaml" with a network`,
		}, {
			"another recipe", func(_ *testing.T, l *lab) { l.spec.Packages = append(l.spec.Packages, "jq", "tcpdump") },
			`the recipe changed since DIR/small.lock.json was made: + package jq, + package tcpdump; --locked does not change the lock: run "k8snode lock --recipe small.yaml"`,
			`the recipe changed since DIR/small.lock.json was made: + package jq, + package tcpdump; --offline does not change the lock: run "k8snode lock --recipe small.yaml" with a network`,
		}, {
			"gone from the mirror", func(_ *testing.T, l *lab) {
				l.set(newCurl)
				l.o.Cache.Dir += "-other"
			},
			`1 input is gone from the mirrors: curl=8.1; --locked does not change the lock: run "k8snode lock --recipe small.yaml"`,
			"7 inputs are missing here, and nothing is fetched offline; run \"k8snode fetch\" for this recipe with a network:\n" +
				"  base-files=13\n  curl=8.1\n  ipxe=1.21\n  libcurl=8.1\n  linux-image-7.3=7.3\n  linux-image-amd64=7.3\n  systemd-boot-efi=257",
		}, {
			"one file is missing", func(t *testing.T, l *lab) {
				if err := os.Remove(l.o.Cache.Path(readLock(t, l).Boot[0].SHA256)); err != nil {
					t.Fatal(err)
				}
			},
			"",
			"1 input is missing here, and nothing is fetched offline; run \"k8snode fetch\" for this recipe with a network:\n  ipxe=1.21",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			if _, err := l.lockAndFetch(); err != nil {
				t.Fatal(err)
			}
			tc.change(t, l)
			before, _ := os.ReadFile(l.o.Lock)
			l.mirror.Requests()
			for _, option := range []struct {
				set  func(*builder.Options)
				want string
			}{
				// Offline first: the other fetches.
				{func(o *builder.Options) { o.Offline = true }, tc.offline},
				{func(o *builder.Options) { o.Locked = true }, tc.locked},
			} {
				o := l.o
				option.set(&o)
				_, err := builder.FetchAll(t.Context(), l.spec, o)
				if got := strings.ReplaceAll(text(err), filepath.Dir(o.Lock), "DIR"); got != option.want {
					t.Errorf("error %s\nwant  %s", got, option.want)
				}
				if asked := l.mirror.Requests(); o.Offline && len(asked) > 0 {
					t.Errorf("offline it asked for %v", asked)
				}
				if after, _ := os.ReadFile(l.o.Lock); !bytes.Equal(before, after) {
					t.Error("the lock was written")
				}
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func readLock(t *testing.T, l *lab) builder.Lock {
	t.Helper()
	lock, err := builder.ReadLock(l.spec, l.o)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestResolveRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(l *lab)
		err    string
	}{
		{"packages that do not exist", func(l *lab) {
			l.spec.Packages = []string{"nosuch", "curl/trixie-backports", "curl", "nor-this/trixie"}
			l.spec.Containers = []images.Container{{Reference: "r.example/x:1", Program: "x", Packages: []string{"no-container"}}}
		}, "locking: resolving packages: there is no package curl in the suite trixie-backports\n" +
			"there is no package nor-this in trixie, trixie-backports\n" +
			"there is no package nosuch in trixie, trixie-backports\n" +
			"resolving packages: there is no package no-container in trixie, trixie-backports"},
		{"a kernel that is not newer", func(l *lab) {
			l.set(func(suite, backports []debtest.Package) (a, b []debtest.Package) {
				backports[0].Version = "6.12"
				return suite, backports
			})
		}, "locking: the kernel is not newer than the base suite's: trixie-backports offers 6.12, trixie has 6.12; name a newer spec.kernel.suite"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			tc.change(l)
			_, err := l.lockAndFetch()
			if got := strings.ReplaceAll(text(err), l.o.Mirror, "MIRROR"); got != tc.err {
				t.Errorf("error %s\nwant  %s", got, tc.err)
			}
			if _, err := os.Stat(l.o.Lock); err == nil {
				t.Error("a lock was written")
			}
		})
	}
}

// A mirror that cannot be used says why, in apt's words, and what can be done
// without it.
func TestResolveMirror(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, l *lab)
		reason string
	}{
		{"down", func(_ *testing.T, l *lab) {
			server := httptest.NewServer(nil)
			server.Close()
			l.o.Mirror = server.URL + "/debian"
		}, "Connection refused"},
		{"a suite that it has not", func(_ *testing.T, l *lab) { l.spec.Distribution.Suite = "sid" }, "sid"},
		{"signed with another key", func(t *testing.T, l *lab) {
			other := newLab(t)
			l.o.Keyring = other.o.Keyring
		}, "trixie"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			tc.change(t, l)
			_, err := l.lockAndFetch()
			var mirror *source.MirrorError
			if !errors.As(err, &mirror) || !strings.Contains(mirror.Reason, tc.reason) ||
				!strings.HasPrefix(err.Error(), "locking: reading the package lists of "+l.o.Mirror+": ") ||
				!strings.HasSuffix(err.Error(), "; name another mirror, or bake with --offline if everything is cached") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A mirror whose lists name what it has not is not asked again and again.
func TestFetchIncompleteMirror(t *testing.T) {
	l := newLab(t)
	inner := l.mirror
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "curl_8.1_amd64.deb") {
			http.NotFound(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	l.o.Mirror = server.URL + "/debian"
	const want = "2 inputs are gone from the mirrors: curl=8.1, libcurl=8.1, which name them themselves: a mirror is incomplete; try again later, or name another"
	if _, err := l.lockAndFetch(); text(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
