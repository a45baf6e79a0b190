package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/builder/squashfs"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// block is the size that tests pack with: small files then reach every border.
const block = 4096

// capability is cap_net_raw, as setcap writes it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// noise does not compress.
func noise(n int, seed uint64) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return string(b)
}

func text(n int) string  { return strings.Repeat("k8snode ", n/8+1)[:n] }
func zeros(n int) string { return strings.Repeat("\x00", n) }
func dir(p string, mode uint16) squashfs.Entry {
	return squashfs.Entry{Path: p, Kind: squashfs.Directory, Mode: mode}
}

func file(p, content string) squashfs.Entry {
	return squashfs.Entry{
		Path: p, Kind: squashfs.File, Mode: 0o644, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

func symlink(p, target string) squashfs.Entry {
	return squashfs.Entry{Path: p, Kind: squashfs.Symlink, Mode: 0o777, Target: target}
}

func hardLink(p, target string) squashfs.Entry {
	return squashfs.Entry{Path: p, Kind: squashfs.HardLink, Target: target}
}

func content(t *testing.T, e squashfs.Entry) []byte {
	t.Helper()
	if e.Open == nil {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack returns the path of a packed layer.
func pack(t *testing.T, entries []squashfs.Entry, o squashfs.PackOptions) string {
	t.Helper()
	if o.BlockSize == 0 {
		o.BlockSize = block
	}
	name := filepath.Join(t.TempDir(), "layer")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := squashfs.Pack(t.Context(), f, entries, o); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, names ...string) []*squashfs.Layer {
	t.Helper()
	var layers []*squashfs.Layer
	for _, name := range names {
		l, err := squashfs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		layers = append(layers, l)
	}
	return layers
}

// assemble returns the path of the file system that the layers make.
func assemble(t *testing.T, layers ...string) (string, squashfs.Info, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.squashfs")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := squashfs.Assemble(t.Context(), f, open(t, layers...), squashfs.AssembleOptions{Epoch: epoch})
	return name, info, err
}

// image returns the path of the file system of one layer.
func image(t *testing.T, entries []squashfs.Entry) string {
	t.Helper()
	name, _, err := assemble(t, pack(t, entries, squashfs.PackOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// everything has one of each kind, and files of each size at which the format
// changes.
func everything() []squashfs.Entry {
	su := file("bin/su", "set-user-ID")
	su.Mode = 0o4755
	setgid := dir("shared", 0o2775)
	setgid.GID = 42
	owned := file("big-owner", "x")
	owned.UID, owned.GID = 4_000_000_000, 70_000
	capable := file("bin/ping", text(3*block+1))
	capable.Xattrs = map[string]string{"security.capability": capability}
	twin := file("bin/ping6", "same attributes")
	twin.Xattrs = capable.Xattrs
	marked := dir("marked", 0o700)
	marked.Xattrs = map[string]string{"trusted.k8snode": "a folder", "trusted.b": "", "user.note": text(3000)}
	link := symlink("marked/link", "../bin/su")
	link.Xattrs = map[string]string{"trusted.k8snode": "a link"}
	pipe := squashfs.Entry{Path: "pipe", Kind: squashfs.FIFO, Mode: 0o600, Xattrs: map[string]string{"trusted.k8snode": "a pipe"}}
	null := squashfs.Entry{Path: "dev/null", Kind: squashfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3}
	disk := squashfs.Entry{Path: "dev/disk", Kind: squashfs.BlockDevice, Mode: 0o660, GID: 6, Major: 259, Minor: 70_000}
	disk.Xattrs = map[string]string{"trusted.k8snode": "a disk"}

	entries := []squashfs.Entry{
		dir("bin", 0o755), dir("tmp", 0o1777), dir("empty", 0o000), setgid, su, owned, capable, twin, marked, link, pipe, null, disk,
		hardLink("bin/su-again", "bin/su"), hardLink("a-name-before-bin", "bin/su"),
		symlink("z-first", "nowhere"), hardLink("z-second", "z-first"), hardLink("dev/zero-not", "dev/null"),
		symlink("long-target", strings.Repeat("t", 4095)),
		file(strings.Repeat("n", 255), "long name"), file("ünïcode \"and\" space\n", "odd name"), file("\xff\xfe", "no UTF-8"),
		file("sub-dir", "sorts between sub and sub/"), file("sub/file", "in a folder that nobody listed"),
		file("zero/all", zeros(5*block)), file("zero/and-tail", zeros(2*block+7)), file("zero/small", zeros(100)),
		file("zero/first", zeros(block)+noise(block, 1)), file("zero/middle", noise(block, 2)+zeros(2*block)+noise(10, 3)),
		file("zero/last", noise(block, 4)+zeros(block)),
	}
	for _, size := range []int{0, 1, block - 1, block, block + 1, 2*block - 1, 2 * block, 3*block + 5} {
		entries = append(entries,
			file(fmt.Sprintf("size/noise-%d", size), noise(size, uint64(size)+9)),
			file(fmt.Sprintf("size/text-%d", size), text(size)),
			file(fmt.Sprintf("size/twin-%d", size), text(size)))
	}
	deep := "deep"
	for range 100 {
		deep += "/and-deeper"
	}
	return append(entries, file(deep+"/bottom", "deep"))
}

func TestEverything(t *testing.T) {
	for _, o := range []squashfs.PackOptions{{}, {Level: 19, BlockSize: 1 << 20}} {
		t.Run(fmt.Sprint(o.BlockSize), func(t *testing.T) {
			name, info, err := assemble(t, pack(t, everything(), o))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, rows(t, everything()))
			st, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if st.Size() != info.Size || info.Size%4096 != 0 || info.Size-info.Used >= 4096 {
				t.Errorf("%d bytes, info %+v", st.Size(), info)
			}
		})
	}
}

// One processor or many, unsquashfs sees the same.
func TestProcessors(t *testing.T) {
	name := image(t, everything())
	for _, n := range []string{"1", "4"} {
		dump(t, unsquashfs(t, name, "-processors", n))
	}
}

// The listing needs no root: this is what is checked everywhere.
func TestListing(t *testing.T) {
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("no unsquashfs: scripts/host-packages.sh test installs it")
	}
	su := file("bin/su", "12345")
	su.Mode, su.UID, su.GID = 0o6755, 3, 4
	name := image(t, []squashfs.Entry{
		su, hardLink("bin/sudo", "bin/su"), symlink("lib", "usr/lib"), dir("tmp", 0o1777), file("zeros", zeros(2*block)),
		{Path: "null", Kind: squashfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3},
	})
	out, err := exec.CommandContext(t.Context(), "unsquashfs", "-UTC", "-lln", name).CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	want := `drwxr-xr-x 0/0                      73 2026-01-02 03:04 squashfs-root
drwxr-xr-x 0/0                      37 2026-01-02 03:04 squashfs-root/bin
-rwsr-sr-x 3/4                       5 2026-01-02 03:04 squashfs-root/bin/su
-rwsr-sr-x 3/4                       5 2026-01-02 03:04 squashfs-root/bin/sudo
lrwxrwxrwx 0/0                       7 2026-01-02 03:04 squashfs-root/lib -> usr/lib
crw-rw-rw- 0/0                   1,  3 2026-01-02 03:04 squashfs-root/null
drwxrwxrwt 0/0                       3 2026-01-02 03:04 squashfs-root/tmp
-rw-r--r-- 0/0                    8192 2026-01-02 03:04 squashfs-root/zeros
`
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	cat, err := exec.CommandContext(t.Context(), "unsquashfs", "-cat", name, "bin/sudo").Output()
	if err != nil || string(cat) != "12345" {
		t.Errorf("bin/sudo has %q, %v", cat, err)
	}
}

// Zeros take no room, equal files one, noise its own size, text less.
func TestSize(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []squashfs.Entry
		least   int64
		most    int64
	}{
		{"zeros", []squashfs.Entry{file("a", zeros(1000*block))}, 0, 1000},
		{"noise", []squashfs.Entry{file("a", noise(10*block, 1))}, 10 * block, 10*block + 1000},
		{"equal noise", []squashfs.Entry{file("a", noise(10*block, 1)), file("b", noise(10*block, 1))}, 10 * block, 10*block + 1000},
		{"equal small noise", []squashfs.Entry{file("a", noise(1000, 1)), file("b", noise(1000, 1))}, 1000, 2000},
		{"different noise", []squashfs.Entry{file("a", noise(10*block, 1)), file("b", noise(10*block, 2))}, 20 * block, 20*block + 1000},
		{"text", []squashfs.Entry{file("a", text(10*block))}, 10, block},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, info, err := assemble(t, pack(t, tt.entries, squashfs.PackOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			if info.Used < tt.least || info.Used > tt.most {
				t.Errorf("%d bytes, want %d to %d", info.Used, tt.least, tt.most)
			}
		})
	}
}

// Equal layers and file systems, whatever the number of processors and the
// order of the entries.
func TestDeterministic(t *testing.T) {
	var layers, images [][]byte
	for _, jobs := range []int{1, 2, 7} {
		entries := everything()
		rand.New(rand.NewPCG(uint64(jobs), 0)).Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		layer := pack(t, entries, squashfs.PackOptions{Jobs: jobs})
		name, _, err := assemble(t, layer)
		if err != nil {
			t.Fatal(err)
		}
		layers, images = append(layers, read(t, layer)), append(images, read(t, name))
	}
	for i := range layers {
		if !bytes.Equal(layers[0], layers[i]) {
			t.Errorf("layer %d differs from the first", i)
		}
		if !bytes.Equal(images[0], images[i]) {
			t.Errorf("file system %d differs from the first", i)
		}
	}
	other := pack(t, append(everything(), file("one-more", "")), squashfs.PackOptions{})
	if bytes.Equal(layers[0], read(t, other)) {
		t.Error("another layer is equal, too")
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

func TestPackErrors(t *testing.T) {
	broken := file("a", "")
	broken.Size = 10
	broken.Open = func() (io.ReadCloser, error) { return nil, errors.New("no such disk") }
	short, long := file("a", "1234"), file("a", "1234")
	short.Size, long.Size = 5, 3
	big := file("a", text(3*block))
	big.Size++
	attr := file("a", "")
	attr.Xattrs = map[string]string{"system.posix_acl_access": "x"}
	mode := file("a", "")
	mode.Mode = 0o10000
	for _, tt := range []struct {
		name    string
		entries []squashfs.Entry
		o       squashfs.PackOptions
		want    string
	}{
		{"good", everything(), squashfs.PackOptions{}, ""},
		{"none", nil, squashfs.PackOptions{}, ""},
		{"level", nil, squashfs.PackOptions{Level: 23}, "packing a layer: level 23 is not from 1 to 22"},
		{"block size", nil, squashfs.PackOptions{BlockSize: 5000}, "packing a layer: block size 5000 is not a power of two from 4096 to 1048576"},
		{"twice", []squashfs.Entry{file("a", ""), dir("a", 0)}, squashfs.PackOptions{}, "packing a layer: /a: it is there twice"},
		{"root", []squashfs.Entry{dir("", 0)}, squashfs.PackOptions{}, `packing a layer: /: path "" is not clean and relative`},
		{"outside", []squashfs.Entry{file("../a", "")}, squashfs.PackOptions{}, `packing a layer: /../a: path "../a" is not clean and relative`},
		{"in a file", []squashfs.Entry{file("a", ""), file("a/b", "")}, squashfs.PackOptions{}, "packing a layer: /a/b: /a, which it is in, is not a folder"},
		{"far in a file", []squashfs.Entry{file("a", ""), file("a/b/c", "")}, squashfs.PackOptions{}, "packing a layer: /a/b/c: /a, which it is in, is not a folder"},
		{"no target", []squashfs.Entry{hardLink("a", "b")}, squashfs.PackOptions{}, "packing a layer: /a: it is a hard link to /b, which is not there"},
		{"link to folder", []squashfs.Entry{hardLink("a", "b"), dir("b", 0)}, squashfs.PackOptions{}, "packing a layer: /a: it is a hard link to /b, which is a folder or itself a hard link"},
		{"long name", []squashfs.Entry{file(strings.Repeat("n", 256), "")}, squashfs.PackOptions{}, "packing a layer: /" + strings.Repeat("n", 256) + ": a name has 256 bytes; Linux opens at most 255"},
		{"long target", []squashfs.Entry{symlink("a", strings.Repeat("t", 4096))}, squashfs.PackOptions{}, "packing a layer: /a: the target has 4096 bytes; 1 to 4095 are possible"},
		{"attribute", []squashfs.Entry{attr}, squashfs.PackOptions{}, `packing a layer: /a: attribute "system.posix_acl_access" cannot be stored: squashfs knows user., trusted., security.`},
		{"mode", []squashfs.Entry{mode}, squashfs.PackOptions{}, "packing a layer: /a: mode 010000 is more than 12 bits"},
		{"device", []squashfs.Entry{{Path: "a", Kind: squashfs.CharDevice, Minor: 1 << 20}}, squashfs.PackOptions{}, "packing a layer: /a: device 0:1048576 is more than 12 and 20 bits"},
		{"kind", []squashfs.Entry{{Path: "a"}}, squashfs.PackOptions{}, "packing a layer: /a: internal error: kind 0"},
		{"unreadable", []squashfs.Entry{broken}, squashfs.PackOptions{}, "packing a layer: /a: no such disk"},
		{"shorter", []squashfs.Entry{short}, squashfs.PackOptions{}, "packing a layer: /a: it does not have the size that was said"},
		{"longer", []squashfs.Entry{long}, squashfs.PackOptions{}, "packing a layer: /a: it does not have the size that was said"},
		{"shorter by blocks", []squashfs.Entry{big}, squashfs.PackOptions{}, "packing a layer: /a: it does not have the size that was said"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.BlockSize == 0 {
				tt.o.BlockSize = block
			}
			if err := squashfs.Pack(t.Context(), io.Discard, tt.entries, tt.o); fmt.Sprint(err) != fmt.Sprint(wanted(tt.want)) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func wanted(text string) any {
	if text == "" {
		return nil
	}
	return text
}
