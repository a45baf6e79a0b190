package builder_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/report"
)

func digest(c string) string { return strings.Repeat(c, 64) }

// fullLock has something of everything.
func fullLock() builder.Lock {
	deb := func(name, version, c string) source.Deb {
		return source.Deb{Package: name, Version: version, Architecture: "amd64", Path: "pool/main/" + name + ".deb", Size: 42, SHA256: digest(c)}
	}
	l := builder.Lock{
		Requests: []string{
			"suite trixie", "component main", "kernel linux-image-amd64/trixie-backports", "boot ipxe", "boot systemd-boot-efi",
			"package curl", "container r.example/proxy:1 package nftables", "image r.example/pause:3",
			"download https://dl.example/a.tar.gz (https://dl.example/a.tar.gz.sha256)",
			"module example.org/b v1.0.0", "module example.org/a v1.2.3",
		},
		Root:       []source.Deb{deb("curl", "8.1", "1"), deb("linux-image-amd64", "7.3~bpo13<1>", "2")},
		Boot:       []source.Deb{deb("ipxe", "1", "3")},
		Containers: map[string][]source.Deb{"r.example/proxy:1": {deb("nftables", "1.1", "4")}, "r.example/other:1": {deb("nftables", "1.1", "4")}},
		Images:     []builder.Image{{Image: "r.example/pause:3", Pinned: "r.example/pause@sha256:" + digest("5")}},
		Downloads:  []source.File{{Name: "a.tar.gz", URL: "https://dl.example/a.tar.gz", SHA256: digest("6"), Size: 7}},
		Modules: []source.Module{
			{Path: "example.org/b", Version: "v1.0.0", Sum: "h1:b", GoModSum: "h1:bmod"},
			{Path: "example.org/a", Version: "v1.2.3", Sum: "h1:a", GoModSum: "h1:amod"},
		},
	}
	return l
}

const lockCommand = "k8snode lock --recipe my.yaml"

func TestLockFile(t *testing.T) {
	l := fullLock()
	data := l.Marshal()
	golden.Check(t, "testdata/full.lock.json", data)
	got, err := builder.ParseLock("my.lock.json", data, lockCommand)
	if err != nil {
		t.Fatal(err)
	}
	l.Key = got.Key
	if diff := cmp.Diff(l, got); diff != "" {
		t.Error(diff)
	}
	if again := got.Marshal(); !bytes.Equal(again, data) {
		t.Errorf("written again: %s", cmp.Diff(string(data), string(again)))
	}
	// The empty one is a lock as well.
	if got, err := builder.ParseLock("my.lock.json", builder.Lock{}.Marshal(), lockCommand); err != nil || len(got.Requests) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseLockRefuses(t *testing.T) {
	good := string(fullLock().Marshal())
	edit := func(old, replacement string) string {
		if strings.Count(good, old) < 1 {
			t.Fatalf("the lock has no %s", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	changed := func(change func(*builder.Lock)) string {
		l := fullLock()
		change(&l)
		return string(l.Marshal())
	}
	for _, tc := range []struct {
		name, data string
		line, col  int
		path       report.Path
		message    string
	}{
		{"edited by hand", edit(`"version":"8.1"`, `"version":"8.0"`), 3, 3, "checksum",
			"the lock was edited by hand, or damaged: its content has another checksum"},
		{"a line too few", edit(`    "suite trixie",`+"\n", ""), 3, 3, "checksum",
			"the lock was edited by hand, or damaged: its content has another checksum"},
		{"another checksum", edit(`"sha256:`, `"sha256:0`), 3, 3, "checksum",
			"the lock was edited by hand, or damaged: its content has another checksum"},
		{"no checksum", strings.Join(slices.Delete(strings.SplitAfter(good, "\n"), 2, 3), ""), 1, 1, "checksum",
			"the lock was edited by hand, or damaged: its content has another checksum"},
		{"unknown field", edit(`  "root"`, "  \"roots\": [],\n  \"root\""), 17, 3, "", `unknown field "roots"`},
		{"another type", edit(`"size":42`, `"size":"42"`), 18, 100, "root.size", "wanted another type than string"},
		{"merge conflict", edit("  \"root\"", "<<<<<<< ours\n  \"root\""), 17, 1, "",
			"invalid JSON: invalid character '<' looking for beginning of object key string"},
		{"cut off", good[:300], 11, 21, "", "the lock ends in the middle"},
		{"empty", "", 1, 1, "", "the lock ends in the middle"},
		{"something behind it", good + "{}", len(strings.Split(good, "\n")), 2, "", "something follows the lock"},
		{"a later version", strings.Replace(edit(`"version": 1`, `"version": 2`), `"root"`, `"base"`, 1), 1, 1, "version",
			"the lock has version 2, this program reads 1"},
		{"a later version of the same form", edit(`"version": 1`, `"version": 2`), 1, 1, "version",
			"the lock has version 2, this program reads 1"},
		{"another document", `{"apiVersion": "v1"}`, 1, 1, "version", "the lock has version 0, this program reads 1"},
		{"a module too few", changed(func(l *builder.Lock) { l.Modules = l.Modules[:1] }), 1, 1, "",
			"the modules are not those that were requested"},
		{"no digest", changed(func(l *builder.Lock) { l.Boot[0].SHA256 = "33" }), 1, 1, "", `"33" is not a SHA-256 digest`},
		{"an image that is not pinned", changed(func(l *builder.Lock) { l.Images[0].Pinned = "r.example/pause:3" }), 1, 1, "",
			`"" is not a SHA-256 digest`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := builder.ParseLock("my.lock.json", []byte(tc.data), lockCommand)
			var got report.Problems
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			want := report.Problems{{
				File: "my.lock.json", Line: tc.line, Col: tc.col, Path: tc.path, Message: tc.message,
				Remedy: fmt.Sprintf("restore it, or run %q", lockCommand),
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is accepted is written back to something that says the same.
func FuzzParseLock(f *testing.F) {
	f.Add(fullLock().Marshal())
	f.Add(builder.Lock{}.Marshal())
	f.Add([]byte(`{"version": 1, "modules": [{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := builder.ParseLock("l", data, lockCommand)
		if err != nil {
			if !errors.As(err, new(report.Problems)) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := builder.ParseLock("l", l.Marshal(), lockCommand)
		if err != nil || again.Key != l.Key || !bytes.Equal(again.Marshal(), l.Marshal()) {
			t.Fatalf("%v, then %v, %v", l, again, err)
		}
	})
}

func TestLockChanges(t *testing.T) {
	is := fullLock()
	is.Root[0] = source.Deb{Package: "curl", Version: "8.2", SHA256: digest("7")}
	is.Root[1].SHA256 = digest("8")
	is.Boot = append(is.Boot, source.Deb{Package: "grub", Version: "2", SHA256: digest("9")})
	is.Containers = nil
	is.Images = []builder.Image{{Image: "r.example/pause:3", Pinned: "r.example/pause@sha256:" + digest("a")}}
	is.Downloads = []source.File{{URL: "https://dl.example/a.tar.gz", SHA256: digest("b")}}
	is.Modules[1].Version = "v1.3.0"
	is.Modules[1].Sum = "h1:a3"
	var got []string
	for _, c := range fullLock().Changes(is) {
		got = append(got, c.String())
	}
	want := []string{
		"curl 8.1 → 8.2",
		"download https://dl.example/a.tar.gz sha256:666666666666 → sha256:bbbbbbbbbbbb",
		"grub (none) → 2",
		"image r.example/pause:3 sha256:555555555555 → sha256:aaaaaaaaaaaa",
		"linux-image-amd64 7.3~bpo13<1> (sha256:222222222222) → 7.3~bpo13<1> (sha256:888888888888)",
		"module example.org/a v1.2.3 → v1.3.0",
		"nftables 1.1 → (none)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if changes := fullLock().Changes(fullLock()); len(changes) > 0 {
		t.Errorf("two of the same: %v", changes)
	}
}

// A lock is asked for again when what it answers changes, and not before.
func TestLockKey(t *testing.T) {
	spec := func() images.Spec {
		s := recipe().Spec
		s.Downloads = []images.Download{{Name: "a", URL: "https://dl.example/a", SHA256: digest("1")}}
		s.Containers = append(s.Containers, images.Container{Reference: "r.example/b:1", Image: "r.example/b:1"},
			images.Container{Reference: "r.example/c:1", Program: "pause", Packages: []string{"x", "y"}})
		s.Packages = []string{"systemd", "curl"}
		return s
	}
	before := builder.LockKey(spec())
	for _, tc := range []struct {
		name   string
		change func(*images.Spec)
		same   bool
	}{
		{"a sysctl", func(s *images.Spec) { s.Sysctls = nil }, true},
		{"a kernel argument", func(s *images.Spec) { s.Kernel.Arguments = nil }, true},
		{"the mirror", func(s *images.Spec) { s.Distribution.Mirror = "http://other.example/debian" }, true},
		{"mirrors", func(s *images.Spec) { s.Mirrors = map[string]string{"r.example": "other.example"} }, true},
		{"the order of packages", func(s *images.Spec) { s.Packages = []string{"curl", "systemd"} }, true},
		{"a linker flag", func(s *images.Spec) { s.Modules[0].LDFlags = []string{"x=y"} }, true},
		{"where a download goes", func(s *images.Spec) { s.Downloads[0].Path = "/usr/bin/a" }, true},
		{"the suite", func(s *images.Spec) { s.Distribution.Suite = "forky" }, false},
		{"a component", func(s *images.Spec) { s.Distribution.Components = []string{"main", "contrib"} }, false},
		{"the kernel's suite", func(s *images.Spec) { s.Kernel.Suite = "sid" }, false},
		{"a package", func(s *images.Spec) { s.Packages = s.Packages[1:] }, false},
		{"a package's suite", func(s *images.Spec) { s.Packages[0] = "systemd/sid" }, false},
		{"a module's version", func(s *images.Spec) { s.Modules[0].Version = "v2.27.0" }, false},
		{"the order of modules", func(s *images.Spec) { s.Modules[0], s.Modules[1] = s.Modules[1], s.Modules[0] }, false},
		{"a container's package", func(s *images.Spec) { s.Containers[2].Packages = []string{"x"} }, false},
		{"an image", func(s *images.Spec) { s.Containers[1].Image = "r.example/b:2" }, false},
		{"a download's digest", func(s *images.Spec) { s.Downloads[0].SHA256 = digest("2") }, false},
		{"where the digest is from", func(s *images.Spec) {
			s.Downloads[0].SHA256, s.Downloads[0].SHA256URL = "", "https://dl.example/a.sha256"
		}, false},
		{"a download", func(s *images.Spec) { s.Downloads = nil }, false},
	} {
		s := spec()
		tc.change(&s)
		if same := builder.LockKey(s) == before; same != tc.same {
			t.Errorf("%s: the same lock: %v, want %v", tc.name, same, tc.same)
		}
	}
}
