package verify_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/builder/verity"
)

// TestVerity reads trees of two and of three levels, ours and veritysetup's.
func TestVerity(t *testing.T) {
	const small, large = 129 * 4096, 16400 * 4096
	for _, tc := range []struct {
		name string
		size int64
		tool bool
	}{{"two levels", small, false}, {"three levels", large, false}, {"veritysetup", small, true}} {
		t.Run(tc.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(name, []byte(verifytest.Noise(10_000)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, tc.size); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var root string
			if tc.tool {
				root = veritysetup(t, name)
			} else {
				info, err := verity.Append(t.Context(), f, tc.size, verity.Options{Salt: sha256.Sum256(nil), UUID: uuid.NameSpaceURL})
				if err != nil {
					t.Fatal(err)
				}
				root = info.RootHash
			}
			if err := verify.CheckVerity(t.Context(), f, tc.size, root); err != nil {
				t.Error(err)
			}
			for _, bad := range []struct {
				at   int64
				want string
			}{
				{4096 + 7, "the block at byte 4096 has another hash than the tree"},
				{tc.size - 1, "the block at byte " + itoa(tc.size-4096) + " has another hash than the tree"},
				{tc.size + 8, "the superblock has version 254 and format 1, not 1 and 1"},
				{tc.size + 2*4096 + 5, "the block at byte " + itoa(tc.size+2*4096) + " has another hash than the tree"},
			} {
				flipByte(t, f, bad.at)
				if err := verify.CheckVerity(t.Context(), f, tc.size, root); err == nil || err.Error() != bad.want {
					t.Errorf("a flipped byte at %d: error %v, want %s", bad.at, err, bad.want)
				}
				flipByte(t, f, bad.at)
			}
			if err := verify.CheckVerity(t.Context(), f, tc.size, verifytest.Zero); err == nil || err.Error() != "the root hash is "+root+" and should be "+verifytest.Zero {
				t.Errorf("another root hash: %v", err)
			}
			if err := verify.CheckVerity(t.Context(), f, tc.size, "abc"); err == nil || err.Error() != `the root hash "abc" is no SHA-256` {
				t.Errorf("no root hash: %v", err)
			}
		})
	}
}

func veritysetup(t *testing.T, name string) string {
	t.Helper()
	tool, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Skip("veritysetup is not installed: scripts/host-packages.sh test installs it, and make test runs that")
	}
	out, err := exec.CommandContext(t.Context(), tool, "format", "--hash-offset", itoa(129*4096), "--data-blocks", "129", name, name).CombinedOutput()
	m := regexp.MustCompile(`Root hash:\s*([0-9a-f]{64})`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(m[1])
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func flipByte(t *testing.T, f *os.File, at int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

const pseudo = `# comment
/ D 1793491200 755 0 0
a\ b D 10 755 1 2
a\ b/c\\d\ \"q\" R 11 4755 0 0 5 0 0
dev/null C 12 666 0 0 1 3
empty R 13 644 0 0 0 5
hard L a\ b/c\\d\ \"q\"
ln S 14 777 0 0 x y\z
ln x security.capability=0x01
pipe I 15 600 0 0 f
#
# START OF DATA - DO NOT MODIFY
#
hello`

func TestPseudo(t *testing.T) {
	want := []string{
		`D / 0755 0:0 1793491200 0 `,
		`D /a b 0755 1:2 10 0 `,
		`R /a b/c\d "q" 4755 0:0 11 5 `,
		`C /dev/null 0666 0:0 12 0 `,
		`R /empty 0644 0:0 13 0 `,
		`L /hard 0000 0:0 0 0 /a b/c\d "q"`,
		`S /ln 0777 0:0 14 0 x y\z`,
		`I /pipe 0600 0:0 15 0 `,
		`/a b/c\d "q"=he`,
		`/empty=`,
	}
	got, err := verify.Pseudo(strings.NewReader(pseudo))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, tc := range []struct{ name, in, err string }{
		{"cut in the data", pseudo[:len(pseudo)-1], `reading /a b/c\d "q": unexpected EOF`},
		{"cut in the list", pseudo[:30], "unexpected EOF"},
		{"no mode", "a D 1\n", `"a D 1" is no line of a pseudo file`},
		{"no number", "a D 1 x 0 0\n", `"a D 1 x 0 0" is no line of a pseudo file`},
		{"a negative size", "a R 1 0 0 0 -1 0\n", `"a R 1 0 0 0 -1 0" is no line of a pseudo file`},
		{"no border", "# START OF DATA - DO NOT MODIFY\nx\n", `"x\n" is before the data`},
	} {
		if _, err := verify.Pseudo(strings.NewReader(tc.in)); err == nil || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}

func TestInitramfs(t *testing.T) {
	archive := verifytest.CPIO(map[string]string{"bin/a": "aaa", "./lib/b": "", "etc/c": "c"})
	compressed, err := verifytest.Archive(map[string]string{"bin/a": "aaa", "./lib/b": "", "etc/c": "c"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"early 1 2d71", "usr/lib/b 0 e3b0", "usr/bin/a 3 9834", "etc/c 1 2e7d"}
	got, err := verify.Initramfs(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	bad := bytes.Clone(archive)
	bad[6+6*8] = 'x'
	for _, tc := range []struct {
		name, err string
		in        []byte
	}{
		{"text", "neither a cpio archive nor one compressed with zstd begins with 68656c6c6f20", []byte("hello world")},
		{"short", "neither a cpio archive nor one compressed with zstd begins with 3037", []byte("07")},
		{"cut", "unexpected EOF", archive[:len(archive)-20]},
		{"no size", "damaged header in a cpio archive", bad},
	} {
		if _, err := verify.Initramfs(bytes.NewReader(tc.in)); err == nil || err.Error() != tc.err {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
		}
	}
}

func TestGRUB(t *testing.T) {
	const good = "set timeout=0\nmenuentry 'a b' {\n  linux ($root)8+2 'root=a' 'x y'z\n  initrd ($root)9+1\n}\n"
	for _, tc := range []struct{ name, in, want, err string }{
		{"good", good, "($root)8+2|root=a x yz|($root)9+1", ""},
		{"two entries", good + good, "||", `it has 2 entries, kernel "($root)8+2" and initramfs "($root)9+1": want one of each`},
		{"none", "", "||", `it has 0 entries, kernel "" and initramfs "": want one of each`},
		{"other quotes", "linux \"a\"\n", "||", `"linux \"a\"" is more than it should have`},
		{"half a quote", "linux 'a\n", "||", `"linux 'a" lacks a quote`},
	} {
		got, err := verify.GRUB(tc.in)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s: %s, %v; want %s, %s", tc.name, got, err, tc.want, tc.err)
		}
	}
	partition := strings.Repeat("a", 512) + strings.Repeat("b", 1024) + strings.Repeat("c", 512)
	for _, tc := range []struct{ in, want, err string }{
		{"($root)1+2", "b", ""},
		{"($root)0+4", "abc", ""},
		{"($root)3+2", "", `"($root)3+2" is not in the partition`},
		{"($root)5+1", "", `"($root)5+1" is not in the partition`},
		{"($root)-1+1", "", `"($root)-1+1" is not in the partition`},
		{"($root)1", "", `"($root)1" is not a list of blocks`},
		{"/boot/vmlinuz", "", `"/boot/vmlinuz" is not a list of blocks`},
	} {
		got, err := verify.Blocks(tc.in, partition)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s: %s, %v; want %s, %s", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func TestPreset(t *testing.T) {
	files := map[string]string{
		"/usr/lib/systemd/system-preset/10-a.preset":     "# enable x\nenable a.service\ndisable b*\n; no\nenable\n",
		"/usr/lib/systemd/system-preset/20-b.preset":     "enable b.service\nenable c@.service one two\n",
		"/etc/systemd/system-preset/20-b.preset":         "ignore d.service\n",
		"/run/systemd/system-preset/05-none.conf":        "enable *\n",
		"/usr/lib/systemd/system-preset/x/00.preset":     "enable *\n",
		"/usr/lib/systemd/system-preset/99-z.preset":     "disable *.service\n",
		"/usr/local/lib/systemd/system-preset/50.preset": "enable e.*\n",
	}
	for unit, want := range map[string]string{
		"a.service":  "true a.service /usr/lib/systemd/system-preset/10-a.preset",
		"b.service":  "false b* /usr/lib/systemd/system-preset/10-a.preset",
		"c@.service": "false *.service /usr/lib/systemd/system-preset/99-z.preset",
		"d.service":  "false d.service /etc/systemd/system-preset/20-b.preset",
		"e.timer":    "true e.* /usr/local/lib/systemd/system-preset/50.preset",
		"f.timer":    "true * no preset file",
	} {
		if got := verify.Preset(files, unit); got != want {
			t.Errorf("%s: %s, want %s", unit, got, want)
		}
	}
}

func TestSysctl(t *testing.T) {
	for in, want := range map[string]string{
		"net.ipv4.ip_forward = 1":            "net.ipv4.ip_forward|1|true",
		"-net/ipv4/conf/eth0.1/rp_filter=0":  "net.ipv4.conf.eth0/1.rp_filter|0|true",
		"net.ipv4.conf.eth0/1.rp_filter=0":   "net.ipv4.conf.eth0/1.rp_filter|0|true",
		"kernel.core_pattern=|/bin/x %p = 1": "kernel.core_pattern||/bin/x %p = 1|true",
		"-net.ipv4.*":                        "net.ipv4.*||false",
	} {
		if got := verify.Sysctl(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	links := map[string]string{
		"/usr": "", "/usr/lib": "", "/usr/lib/a": "", "/lib": "usr/lib", "/etc": "", "/etc/a": "../lib/a",
		"/abs": "/etc/a", "/loop": "loop", "/broken": "nowhere", "/up": "../../../usr",
	}
	for p, want := range map[string]string{
		"/usr/lib/a": "/usr/lib/a", "/lib/a": "/usr/lib/a", "/etc/a": "/usr/lib/a", "/abs": "/usr/lib/a",
		"/up/lib/../lib/a": "/usr/lib/a", "/loop": "", "/broken": "", "/usr/lib/b": "",
	} {
		if got, ok := verify.Resolve(links, p); got != want || ok != (want != "") {
			t.Errorf("%s leads to %q, %t; want %q", p, got, ok, want)
		}
	}
}

func FuzzPseudo(f *testing.F) {
	f.Add(pseudo)
	f.Add("a\\ R 1 0 0 0 99999999 0\n# START OF DATA - DO NOT MODIFY\n#\n")
	f.Fuzz(func(_ *testing.T, in string) { _, _ = verify.Pseudo(strings.NewReader(in)) })
}

func FuzzInitramfs(f *testing.F) {
	f.Add(verifytest.CPIO(map[string]string{"a": "b"}))
	w, err := zstd.NewWriter(io.Discard)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w.EncodeAll(verifytest.CPIO(map[string]string{"a": "b"}), nil))
	f.Fuzz(func(_ *testing.T, in []byte) { _, _ = verify.Initramfs(bytes.NewReader(in)) })
}

func FuzzGRUB(f *testing.F) {
	f.Add("menuentry 'a' {\nlinux 'b' c\ninitrd d\n}")
	f.Fuzz(func(_ *testing.T, in string) { _, _ = verify.GRUB(in) })
}

func FuzzVerity(f *testing.F) {
	f.Add([]byte("verity\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00"), int64(8192))
	f.Fuzz(func(t *testing.T, in []byte, at int64) {
		at = max(0, at%(1<<20))
		b := append(make([]byte, at), in...)
		if err := verify.CheckVerity(t.Context(), bytes.NewReader(b), at, verifytest.Zero); err == nil {
			t.Error("a tree of nothing leads to the root hash")
		}
	})
}
