package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// dump shows an archive as one line for each entry.
func dump(t *testing.T, r io.Reader) []string {
	t.Helper()
	var rows []string
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("%c %s %04o %d", h.Typeflag, strings.TrimPrefix(h.Name, "./"), h.Mode, h.Uid)
		if h.Linkname != "" {
			row += " -> " + strings.TrimPrefix(h.Linkname, "./")
		}
		if len(body) > 0 {
			row += " " + string(body)
		}
		rows = append(rows, row)
	}
}

func file(p, content string) tree.Entry {
	return tree.Entry{Path: p, Kind: tree.File, Mode: 0o644, Content: []byte(content)}
}

func TestWriteTar(t *testing.T) {
	all, err := tree.New([]tree.Entry{
		{Path: "root", Kind: tree.Symlink, Target: "var/roothome"},
		{Path: "tmp", Kind: tree.Dir, Mode: 0o777 | fs.ModeSticky, UID: 7},
		file("opt/a/b", "x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(all.WriteTar(w, epoch), w.Close()); err != nil {
		t.Fatal(err)
	}
	want := []string{"5 opt/ 0755 0", "5 opt/a/ 0755 0", "0 opt/a/b 0644 0 x", "2 root 0777 0 -> var/roothome", "5 tmp/ 1777 7"}
	if diff := cmp.Diff(want, dump(t, &out)); diff != "" {
		t.Error(diff)
	}
}

func TestNew(t *testing.T) {
	for _, tc := range []struct {
		name    string
		entries []tree.Entry
		err     string
	}{
		{"twice", []tree.Entry{file("a", ""), file("a", "")}, "building a tree: /a is there twice"},
		{"absolute", []tree.Entry{file("/a", "")}, `building a tree: path "/a" is not clean and relative`},
		{"outside", []tree.Entry{file("../a", "")}, `building a tree: path "../a" is not clean and relative`},
		{"unclean", []tree.Entry{file("a//b", "")}, `building a tree: path "a//b" is not clean and relative`},
	} {
		if _, err := tree.New(tc.entries); err == nil || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}

func TestFromRecipe(t *testing.T) {
	spec := images.Spec{
		KernelModules: []string{"overlay", "br_netfilter"},
		Sysctls:       map[string]string{"vm.b": "2", "net.a": "1"},
		Journald:      map[string]string{"Storage": "persistent"},
		Users:         []images.User{{Name: "etcd", UID: 62379}},
		Units: []images.Unit{
			{Name: "a.service", Source: "node/a.service", Enabled: true, Dropins: []images.Dropin{{Name: "10-x.conf", Source: "node/x.conf"}}},
			{Name: "b.service", Source: "node/a.service"},
		},
		Files: []images.File{
			{Path: "/etc/x", Contents: "x", Mode: 0o600},
			{Path: "/opt", Symlink: "var/opt"},
			{Path: "/srv/d", Directory: true},
		},
	}
	dir := fstest.MapFS{"node/a.service": {Data: []byte("[Unit]\n")}, "node/x.conf": {Data: []byte("[Service]\n")}}
	entries, err := tree.FromRecipe(spec, dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		if e.Kind == tree.Dir && e.Path != "srv/d" {
			continue
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %04o %s%q", e.Kind, e.Path, e.Mode, e.Target, e.Content)))
	}
	want := []string{
		`file etc/machine-id 0644 "uninitialized\n"`,
		`file etc/x 0600 "x"`,
		`symlink opt 0000 var/opt""`,
		`dir srv/d 0755 ""`,
		`file usr/lib/modules-load.d/90-k8snode.conf 0644 "br_netfilter\noverlay\n"`,
		`file usr/lib/sysctl.d/90-k8snode.conf 0644 "net.a = 1\nvm.b = 2\n"`,
		`file usr/lib/systemd/journald.conf.d/90-k8snode.conf 0644 "[Journal]\nStorage=persistent\n"`,
		`file usr/lib/systemd/system-preset/00-k8snode.preset 0644 "enable a.service\n"`,
		`file usr/lib/systemd/system/a.service 0644 "[Unit]\n"`,
		`file usr/lib/systemd/system/a.service.d/10-x.conf 0644 "[Service]\n"`,
		`file usr/lib/systemd/system/b.service 0644 "[Unit]\n"`,
		`file usr/lib/sysusers.d/k8snode.conf 0644 "u etcd 62379 - -\n"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	spec.Units[0].Source = "node/missing.service"
	_, err = tree.FromRecipe(spec, dir)
	const missing = `adding /usr/lib/systemd/system/a.service: reading "node/missing.service" beside the recipe: open node/missing.service: file does not exist`
	if err == nil || err.Error() != missing {
		t.Errorf("error %v, want %s", err, missing)
	}
}
