package layerfs_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/layerfs"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// noise is content that does not compress.
func noise(n int, seed uint64) string {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	r.Read(b) //nolint:errcheck // it never fails
	return string(b)
}

type file struct {
	header  tar.Header
	content string
}

func archive(t *testing.T, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.header
		h.ModTime, h.Format = epoch, tar.FormatPAX
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(f.content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pack returns the path of a packed layer.
func pack(t *testing.T, files []file, o layerfs.PackOptions) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := layerfs.Pack(t.Context(), f, bytes.NewReader(archive(t, files)), o); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// assemble returns the path of the file system that the layers make.
func assemble(t *testing.T, layers ...string) (string, error) {
	t.Helper()
	var open []*layerfs.Layer
	for _, name := range layers {
		l, err := layerfs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		open = append(open, l)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "root.squashfs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Name(), layerfs.Assemble(t.Context(), f, open, layerfs.AssembleOptions{Epoch: epoch})
}

// listing is what unsquashfs says of a file system: mode, owner, size, time and
// path, and the digest of what is in files.
func listing(t *testing.T, name string) string {
	t.Helper()
	tool(t, "unsquashfs")
	cmd := exec.CommandContext(t.Context(), "unsquashfs", "-lln", "-UTC", name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "root")
	cmd = exec.CommandContext(t.Context(), "unsquashfs", "-no-progress", "-quiet", "-dest", dir, name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(strings.Replace(line, "squashfs-root", "", 1), "\n")
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.Contains("-dlcbps", line[:1]) {
			continue
		}
		if line[0] == 'd' {
			fields[2] = "-" // a folder's size depends on how its entries are grouped
		}
		b.WriteString(strings.Join(fields, " "))
		if line[0] == '-' {
			content, err := os.ReadFile(filepath.Join(dir, fields[5]))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("no %s: scripts/host-packages.sh test installs it", name)
	}
}

// everything is one of each kind, and of each size at which the format changes.
func everything() []file {
	const block = layerfs.BlockSize
	files := []file{
		{header: tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}},
		{header: tar.Header{Name: "bin/su", Mode: 0o4755}, content: "set-user-ID"},
		{header: tar.Header{Name: "bin/su2", Typeflag: tar.TypeLink, Linkname: "bin/su"}},
		{header: tar.Header{Name: "bin/ping", Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		}}, content: "ping"},
		{header: tar.Header{Name: "sh", Typeflag: tar.TypeSymlink, Linkname: "bin/su"}},
		{header: tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}},
		{header: tar.Header{Name: "owner", Uid: 70000, Gid: 42}},
		{header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}},
		{header: tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 259, Devminor: 70000, Mode: 0o660}},
		{header: tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600}},
		{header: tar.Header{Name: "many/", Typeflag: tar.TypeDir, Mode: 0o755}},
		{header: tar.Header{Name: strings.Repeat("n", 255)}, content: "long name"},
		{header: tar.Header{Name: "zeros"}, content: strings.Repeat("\x00", 3*block+5)},
		{header: tar.Header{Name: "holes"}, content: strings.Repeat("\x00", block) + noise(block, 7) + strings.Repeat("\x00", block) + "end"},
	}
	for _, size := range []int{0, 1, block - 1, block, block + 1, 3 * block} {
		files = append(files,
			file{header: tar.Header{Name: fmt.Sprintf("noise-%d", size)}, content: noise(size, uint64(size))},
			file{header: tar.Header{Name: fmt.Sprintf("text-%d", size)}, content: strings.Repeat("k8snode ", size/8+1)[:size]})
	}
	for i := range 2000 {
		files = append(files, file{header: tar.Header{Name: fmt.Sprintf("many/file-with-a-rather-long-name-%04d", i)}, content: fmt.Sprint(i % 100)})
	}
	deep := ""
	for i := range 40 {
		deep += fmt.Sprintf("d%d/", i)
		files = append(files, file{header: tar.Header{Name: deep, Typeflag: tar.TypeDir, Mode: 0o700}})
	}
	return append(files, file{header: tar.Header{Name: deep + "bottom"}, content: "deep"})
}

// What unsquashfs reads is what mksquashfs would have written.
func TestAgainstMksquashfs(t *testing.T) {
	tool(t, "mksquashfs")
	ours, err := assemble(t, pack(t, everything(), layerfs.PackOptions{Level: 3}))
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(t.TempDir(), "theirs")
	cmd := exec.CommandContext(t.Context(), "mksquashfs", "-", theirs, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-b", "256K",
		"-root-mode", "755")
	cmd.Stdin = bytes.NewReader(archive(t, everything()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	// The root's own time is mksquashfs's to choose.
	cut := func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest }
	if diff := cmp.Diff(cut(listing(t, theirs)), cut(listing(t, ours))); diff != "" {
		t.Errorf("unsquashfs reads (-mksquashfs +ours):\n%s", diff)
	}
}

// The kernel reads links, capabilities and large folders, too.
func TestKernel(t *testing.T) {
	tool(t, "unshare")
	name, err := assemble(t, pack(t, everything(), layerfs.PackOptions{Level: 3}))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := `set -ex
mount -t squashfs -o loop,ro "$1" "$2" || exit 77
cd "$2"
[ "$(stat -c %h:%a bin/su)" = 2:4755 ]
[ "$(stat -c %i bin/su)" = "$(stat -c %i bin/su2)" ]
[ "$(ls many | wc -l)" = 2000 ]
[ "$(cat many/file-with-a-rather-long-name-1999)" = 99 ]
[ "$(stat -c %u:%g owner)" = 70000:42 ]
[ "$(stat -c %t:%T null)" = 1:3 ]
[ "$(stat -c %t:%T disk)" = 103:11170 ]
[ "$(find . | wc -l)" = "$3" ]
getfattr -d -m - bin/ping 2>/dev/null | grep -q security.capability || ! command -v getfattr
find . -type f -exec cat {} + | wc -c
`
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", name, dir, fmt.Sprint(len(everything())+1))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 || strings.Contains(string(out), "unshare failed") {
		t.Skipf("cannot mount a squashfs here: %s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Equal layers and file systems, whatever the number of processors.
func TestDeterministic(t *testing.T) {
	var packed, whole [][]byte
	for _, jobs := range []int{1, 2, 7} {
		layer := pack(t, everything(), layerfs.PackOptions{Level: 3, Jobs: jobs})
		name, err := assemble(t, layer)
		if err != nil {
			t.Fatal(err)
		}
		packed, whole = append(packed, read(t, layer)), append(whole, read(t, name))
	}
	for i := range packed {
		if !bytes.Equal(packed[0], packed[i]) {
			t.Errorf("layer %d differs from the first", i)
		}
		if !bytes.Equal(whole[0], whole[i]) {
			t.Errorf("file system %d differs from the first", i)
		}
	}
	if len(whole[0])%4096 != 0 {
		t.Errorf("the file system has %d bytes, no multiple of 4096", len(whole[0]))
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Two layers read as one archive of both, with the lower one's folders.
func TestLayers(t *testing.T) {
	lower := everything()
	upper := []file{
		{header: tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o700}},
		{header: tar.Header{Name: "bin/kubelet", Mode: 0o755}, content: noise(2*layerfs.BlockSize, 9)},
		{header: tar.Header{Name: "bin/small"}, content: "small"},
		{header: tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}},
		{header: tar.Header{Name: "etc/conf"}, content: "conf"},
	}
	two, err := assemble(t, pack(t, lower, layerfs.PackOptions{Level: 3}), pack(t, upper, layerfs.PackOptions{Level: 9}))
	if err != nil {
		t.Fatal(err)
	}
	one, err := assemble(t, pack(t, append(lower, upper[1:]...), layerfs.PackOptions{Level: 3}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, one), listing(t, two)); diff != "" {
		t.Errorf("two layers (-one archive +two layers):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	layer := func(files ...file) string { return pack(t, files, layerfs.PackOptions{Level: 1}) }
	conf := file{header: tar.Header{Name: "conf"}, content: "1"}
	for _, tt := range []struct {
		name   string
		layers []string
		want   string
	}{
		{"good", []string{layer(conf)}, ""},
		{"hidden file", []string{layer(conf), layer(conf)}, "hides the one of"},
		{"file over folder", []string{layer(file{header: tar.Header{Name: "conf/", Typeflag: tar.TypeDir}}), layer(conf)}, "hides the one of"},
		{"implied folder", []string{layer(file{header: tar.Header{Name: "etc/a/conf"}})}, ""},
		{"below a file", []string{layer(conf), layer(file{header: tar.Header{Name: "conf/x"}})}, "/conf/x is below /conf, which is no folder"},
		{"no target", []string{layer(file{header: tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}})}, "/a is a link to /b, which is not there"},
		{"attribute", []string{layer(file{header: tar.Header{Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.system.x": "1"}}})}, "/a has the attribute system.x, which no squashfs holds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := assemble(t, tt.layers...)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}

	if err := layerfs.Pack(t.Context(), io.Discard, strings.NewReader("no archive, "+strings.Repeat("x", 1024)), layerfs.PackOptions{Level: 1}); err == nil {
		t.Error("packed what is no archive")
	}
	cut := archive(t, []file{{header: tar.Header{Name: "a"}, content: noise(2*layerfs.BlockSize, 1)}})
	if err := layerfs.Pack(t.Context(), io.Discard, bytes.NewReader(cut[:layerfs.BlockSize]), layerfs.PackOptions{Level: 1}); err == nil {
		t.Error("packed an archive that ends in the middle of a file")
	}
	damaged := filepath.Join(t.TempDir(), "layer")
	if err := os.WriteFile(damaged, read(t, layer(conf))[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layerfs.Open(damaged); err == nil {
		t.Error("opened half a layer")
	}
}
