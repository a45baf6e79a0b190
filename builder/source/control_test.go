package source_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/k8snode/k8snode/builder/source"
)

const control = "Package: zlib1g\nSource: zlib\nVersion: 1:1.3\nEssential: yes\nDescription: a library\n of many words\nDepends: libc6 (>= 2.14),\n libother\nHomepage: https://zlib.example\n"

// member is a member of an ar archive.
func member(name string, content []byte) string {
	text := fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", name, 0, 0, 0, 0o100644, len(content), content)
	if len(content)%2 == 1 {
		text += "\n"
	}
	return text
}

// controlTar is a tar archive as dpkg-deb makes it.
func controlTar(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, text string }{{"./md5sums", "x"}, {name, control}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress writes b through a compressor.
func compress(t *testing.T, b []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestControl(t *testing.T) {
	plain := controlTar(t, "./control")
	gz := compress(t, plain, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	xzip := compress(t, plain, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	zst := compress(t, plain, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	// An odd length needs padding behind it.
	start := "!<arch>\n" + member("debian-binary", []byte("2.0")) + member("_extra", []byte("12345"))
	const want = "Package: zlib1g\nSource: zlib\nVersion: 1:1.3\nEssential: yes\nDepends: libc6 (>= 2.14),\n libother\n"
	for _, tc := range []struct {
		name, deb, err string
	}{
		{name: "plain", deb: start + member("control.tar", plain)},
		{name: "gzip", deb: start + member("control.tar.gz", gz)},
		{name: "xz", deb: start + member("control.tar.xz", xzip)},
		{name: "zstd", deb: start + member("control.tar.zst", zst)},
		{name: "a slash behind the name", deb: start + member("control.tar.gz/", gz)},
		{name: "without a dot", deb: start + member("control.tar", controlTar(t, "control"))},
		{name: "other compression", deb: start + member("control.tar.lzma", plain), err: "control.tar.lzma: unknown compression"},
		{name: "no control", deb: start + member("control.tar", controlTar(t, "./conffiles")), err: "control.tar: there is no file control"},
		{name: "no control archive", deb: start, err: "there is no control.tar"},
		{name: "not an archive", deb: "PK\x03\x04 something else", err: "not a Debian package"},
		{name: "not a member", deb: start + strings.Repeat("x", 60), err: "not a Debian package: a member has no header"},
		{name: "truncated", deb: start + member("control.tar", plain)[:300], err: "control.tar: unexpected EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.deb")
			if err := os.WriteFile(file, []byte(tc.deb), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := source.Control(file)
			if tc.err != "" {
				if want := `reading the control file of package "p.deb": ` + tc.err; err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if err != nil || got != want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// paragraph is the record of d in an archive.
func paragraph(d source.Deb) string {
	return d.Paragraph(fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\n", d.Package, d.Version, d.Architecture), d.Path)
}

func FuzzParsePackages(f *testing.F) {
	f.Add("Package: bash\nVersion: 5\nArchitecture: amd64\nFilename: pool/b.deb\nSize: 3\nSHA256: " + strings.Repeat("a", 64) + "\nDepends: libc6\n\n")
	f.Add("Package: x\n y\n")
	f.Fuzz(func(t *testing.T, text string) {
		debs, err := source.ParsePackages(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, d := range debs {
			// What is accepted survives a round trip through a local archive.
			again, err := source.ParsePackages(strings.NewReader(paragraph(d)))
			if err != nil || len(again) != 1 || again[0].SHA256 != d.SHA256 {
				t.Fatalf("round trip of %q: %v, %v", paragraph(d), again, err)
			}
		}
	})
}
