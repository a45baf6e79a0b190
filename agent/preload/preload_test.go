package preload_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/preload"
)

// archive is a tar of name, content pairs.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func dockerArchive(t testing.TB, tag, config string) []byte {
	return archive(t, "layer.tar", strings.Repeat("x", 2000), "manifest.json", fmt.Sprintf(`[{"Config":%q,"RepoTags":[%q]}]`, config, tag))
}

func TestReadIndex(t *testing.T) {
	for _, tt := range []struct {
		name    string
		data    []byte
		want    []string
		wantErr string
	}{
		{
			name: "docker",
			data: archive(t, "a/layer.tar", "x", "manifest.json",
				`[{"RepoTags":["registry.example/pause:3.10","registry.example:5000/a"]},{"RepoTags":["busybox","me/tool:1","localhost/x@sha256:00"]},{}]`),
			want: []string{
				"docker.io/library/busybox:latest", "docker.io/me/tool:1", "localhost/x@sha256:00",
				"registry.example/pause:3.10", "registry.example:5000/a:latest",
			},
		},
		{
			name: "OCI layout",
			data: archive(t, "./oci-layout", "{}", "./index.json", `{"manifests":[
				{"annotations":{"io.containerd.image.name":"registry.example/a:1","org.opencontainers.image.ref.name":"1"}},
				{"annotations":{"org.opencontainers.image.ref.name":"registry.example/b:2"}},
				{"annotations":{"org.opencontainers.image.ref.name":"only-a-tag"}},{}]}`),
			want: []string{"registry.example/a:1", "registry.example/b:2"},
		},
		{name: "both", data: archive(t, "index.json", `{"manifests":[{"annotations":{"io.containerd.image.name":"r.example/a:1"}}]}`,
			"manifest.json", `[{"RepoTags":["r.example/a:1"]}]`), want: []string{"r.example/a:1"}},
		{name: "no names", data: archive(t, "manifest.json", `[{}]`), wantErr: "the archive names no image"},
		{name: "nothing", data: archive(t), wantErr: "the archive names no image"},
		{name: "not JSON", data: archive(t, "index.json", `{`), wantErr: "reading index.json: unexpected end of JSON input"},
		{name: "not a tar", data: bytes.Repeat([]byte("x"), 1024), wantErr: "archive/tar: invalid tar header"},
		{name: "cut", data: dockerArchive(t, "r.example/a:1", "c")[:1000], wantErr: "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := preload.ReadIndex(bytes.NewReader(tt.data))
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("got %v, want %s", err, tt.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got.References); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
			if len(got.Digest) != 64 {
				t.Errorf("digest is %q", got.Digest)
			}
		})
	}
}

// FuzzReadIndex checks that no archive makes the reader panic or return a
// nameless image.
func FuzzReadIndex(f *testing.F) {
	f.Add(dockerArchive(f, "r.example/a:1", "c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := preload.ReadIndex(bytes.NewReader(data))
		if err == nil && len(index.References) == 0 {
			t.Error("an archive without images was accepted")
		}
	})
}

// A machine has archives and a fake ctr that remembers images in a file.
type machine struct {
	t    *testing.T
	opts preload.Options
	dir  string
	out  bytes.Buffer
	// synced are the folders whose file system was.
	synced []string
}

func (m *machine) sync(dir string) error {
	m.synced = append(m.synced, strings.TrimPrefix(dir, m.opts.Root))
	return nil
}

func newMachine(t *testing.T, role node.Role) *machine {
	m := &machine{t: t, dir: t.TempDir()}
	m.opts = preload.Options{Role: role, Root: t.TempDir(), Runner: command.Runner{Dir: m.dir}, Out: &m.out, Sync: m.sync}
	m.ctr("true")
	m.archive("all/pause.tar", "registry.example/pause:3.10", "config-1")
	m.archive("controlPlane/etcd.tar", "registry.example/etcd:3.7", "config-2")
	return m
}

// ctr makes the fake; before runs first and may fail.
func (m *machine) ctr(before string) {
	script := `#!/bin/sh
cd ` + m.dir + `
echo "$*" >>log
touch present
fail() { ` + before + `; }
fail "$@" || exit 1
case "$6" in
ls) cat present ;;
label) echo "$7" >>present ;;
esac
`
	m.write(filepath.Join(m.dir, "ctr"), []byte(script), 0o755)
}

func (m *machine) archive(name, tag, config string) {
	m.write(filepath.Join(m.opts.Root, node.ImagesDir, name), dockerArchive(m.t, tag, config), 0o644)
}

func (m *machine) write(path string, data []byte, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		m.t.Fatal(err)
	}
}

// run returns what was printed and the arguments of every ctr.
func (m *machine) run() (out, log string, err error) {
	m.t.Helper()
	m.out.Reset()
	os.Remove(filepath.Join(m.dir, "log"))
	err = preload.Run(context.Background(), m.opts)
	data, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return m.out.String(), strings.ReplaceAll(string(data), m.opts.Root, ""), err
}

const (
	prefix      = "--address /run/containerd/containerd.sock -n k8s.io images "
	list        = prefix + "ls -q\n"
	importPause = prefix + "import --local --sync-fs /usr/share/k8snode/images/all/pause.tar\n" +
		prefix + "label registry.example/pause:3.10 io.cri-containerd.pinned=pinned\n"
	importEtcd = prefix + "import --local --sync-fs /usr/share/k8snode/images/controlPlane/etcd.tar\n" +
		prefix + "label registry.example/etcd:3.7 io.cri-containerd.pinned=pinned\n"
)

func event(archive, result, reference string) string {
	return fmt.Sprintf(`{"step":"import","archive":%q,"result":%q,"references":[%q]}`+"\n", archive, result, reference)
}

func TestRun(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	check := func(wantOut, wantLog string) {
		t.Helper()
		out, log, err := m.run()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantOut, out); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(wantLog, log); diff != "" {
			t.Error(diff)
		}
	}
	pause, etcd := "registry.example/pause:3.10", "registry.example/etcd:3.7"
	check(event("all/pause.tar", "imported", pause)+event("controlPlane/etcd.tar", "imported", etcd), list+importPause+importEtcd)
	check(event("all/pause.tar", "present", pause)+event("controlPlane/etcd.tar", "present", etcd), list)

	if diff := cmp.Diff([]string{"/var/lib/containerd", "/var/lib/containerd"}, m.synced); diff != "" {
		t.Error(diff)
	}

	// Somebody removed one image.
	m.write(filepath.Join(m.dir, "present"), []byte(etcd+"\n"), 0o644)
	check(event("all/pause.tar", "imported", pause)+event("controlPlane/etcd.tar", "present", etcd), list+importPause)

	// An archive of the same size has other content.
	m.archive("controlPlane/etcd.tar", etcd, "config-3")
	check(event("all/pause.tar", "present", pause)+event("controlPlane/etcd.tar", "imported", etcd), list+importEtcd)
}

func TestWorkerImportsOnlyAll(t *testing.T) {
	m := newMachine(t, node.Worker)
	_, log, err := m.run()
	if err != nil || log != list+importPause {
		t.Errorf("got %q, %v", log, err)
	}
}

func TestRunErrors(t *testing.T) {
	m := newMachine(t, "bastion")
	if _, _, err := m.run(); err == nil || err.Error() != `importing images: role "bastion" is unknown` {
		t.Errorf("got %v", err)
	}

	m = newMachine(t, node.Worker)
	m.ctr(`[ "$6" != label ] || { echo no such image; return 1; }`)
	_, _, err := m.run()
	if want := "label registry.example/pause:3.10 io.cri-containerd.pinned=pinned: exit status 1: no such image"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	// What was not labelled is not remembered as imported.
	m.ctr("true")
	if _, log, err := m.run(); err != nil || log != list+importPause {
		t.Errorf("got %q, %v", log, err)
	}

	m.write(filepath.Join(m.opts.Root, node.ImagesDir, "all/broken.tar"), []byte("x"), 0o644)
	if _, _, err := m.run(); err == nil || !strings.HasSuffix(err.Error(), "all/broken.tar: unexpected EOF") {
		t.Errorf("got %v", err)
	}
}

// Docker loads the same archives, and says itself what it has.
func TestDocker(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.opts.Runtime = node.Docker
	m.write(filepath.Join(m.dir, "docker"), []byte(`#!/bin/sh
cd `+m.dir+`
echo "$*" >>log
touch present
case "$1 $2" in
"image ls") cat present ;;
esac
case "$1" in
load) echo "registry.example/$(basename "$4" .tar):$(case "$4" in *pause.tar) echo 3.10 ;; *) echo 3.7 ;; esac)" >>present ;;
esac
`), 0o755)
	const list = "image ls --format {{.Repository}}:{{.Tag}}\n"
	_, log, err := m.run()
	if want := list + "image rm --force registry.example/pause:3.10\nload --quiet --input /usr/share/k8snode/images/all/pause.tar\n" +
		"image rm --force registry.example/etcd:3.7\nload --quiet --input /usr/share/k8snode/images/controlPlane/etcd.tar\n"; err != nil || log != want {
		t.Errorf("got %q, %v; want %q", log, err, want)
	}
	if out, log, err := m.run(); err != nil || log != list || strings.Contains(out, "imported") {
		t.Errorf("the second time: %q, %q, %v", out, log, err)
	}
	if diff := cmp.Diff([]string{"/var/lib/docker", "/var/lib/docker"}, m.synced); diff != "" {
		t.Error(diff)
	}
	m.opts.Runtime = "podman"
	if _, _, err := m.run(); err == nil || err.Error() != `importing images: runtime "podman" is unknown` {
		t.Errorf("got %v", err)
	}
}

func TestNoArchives(t *testing.T) {
	err := preload.Run(context.Background(), preload.Options{
		Role: node.Worker, Root: t.TempDir(), Runner: command.Runner{Dir: t.TempDir()}, // without ctr
	})
	if err != nil {
		t.Error(err)
	}
}
