package source_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/k8snode/k8snode/builder/source"
)

// entries of the archives of these tests: a tar archive as release tools make
// them, with folders, links and a file that occurs twice.
func tarFile(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content string) {
		h.Size, h.Mode = int64(len(content)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "./bin/", Typeflag: tar.TypeDir}, "")
	add(tar.Header{Name: "./bin/tool", Typeflag: tar.TypeReg}, "old")
	add(tar.Header{Name: "./bin/tool", Typeflag: tar.TypeReg}, "the tool")
	add(tar.Header{Name: "bin/hard", Typeflag: tar.TypeLink, Linkname: "bin/tool"}, "")
	add(tar.Header{Name: "bin/soft", Typeflag: tar.TypeSymlink, Linkname: "../lib/real"}, "")
	add(tar.Header{Name: "bin/two", Typeflag: tar.TypeSymlink, Linkname: "soft"}, "")
	add(tar.Header{Name: "bin/outside", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"}, "")
	add(tar.Header{Name: "bin/absolute", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "")
	add(tar.Header{Name: "bin/dangling", Typeflag: tar.TypeSymlink, Linkname: "none"}, "")
	add(tar.Header{Name: "bin/circle", Typeflag: tar.TypeSymlink, Linkname: "circle"}, "")
	add(tar.Header{Name: "dev/null", Typeflag: tar.TypeChar}, "")
	add(tar.Header{Name: "lib/real", Typeflag: tar.TypeReg}, strings.Repeat("real ", 1000))
	add(tar.Header{Name: "empty", Typeflag: tar.TypeReg}, "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipFile(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range []struct {
		name, content string
		mode          fs.FileMode
	}{
		{"bin/", "", fs.ModeDir | 0o755}, {"bin/tool", "the tool", 0o755},
		{"bin/two", "../lib/real", fs.ModeSymlink | 0o777}, {"lib/real", strings.Repeat("real ", 1000), 0o644},
	} {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressed packs data with one of the writers of these libraries.
func compressed(t *testing.T, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archives(t *testing.T) map[string][]byte {
	t.Helper()
	plain := tarFile(t)
	return map[string][]byte{
		"a.tar":     plain,
		"a.tar.gz":  compressed(t, plain, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"a.tar.xz":  compressed(t, plain, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"a.tar.zst": compressed(t, plain, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		"a.zip":     zipFile(t),
	}
}

// store puts a file into a cache.
func store(t *testing.T, c source.Cache, data []byte) string {
	t.Helper()
	digest := source.SumBytes(data)
	if _, err := c.Fetch(t.Context(), "test", digest, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}); err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestExtract(t *testing.T) {
	for name, data := range archives(t) {
		t.Run(name, func(t *testing.T) {
			c := source.Cache{Dir: t.TempDir()}
			archive := store(t, c, data)
			for member, want := range map[string]string{
				"bin/tool": "the tool", "bin/two": strings.Repeat("real ", 1000), "bin/hard": "the tool", "bin/soft": strings.Repeat("real ", 1000), "empty": "",
			} {
				if name == "a.zip" && member != "bin/tool" && member != "bin/two" {
					continue
				}
				digest, err := c.Extract(t.Context(), name, archive, member)
				if err != nil {
					t.Errorf("%s: %v", member, err)
					continue
				}
				if digest != source.SumBytes([]byte(want)) {
					t.Errorf("%s has the digest %s", member, digest)
				}
				wantContent(t, c.Path(digest), []byte(want))
			}
			if left, _ := os.ReadDir(c.Dir + "/work"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// The same member is read once.
func TestExtractCached(t *testing.T) {
	c := source.Cache{Dir: t.TempDir()}
	archive := store(t, c, tarFile(t))
	first, err := c.Extract(t.Context(), "a.tar", archive, "bin/tool")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.Path(archive)); err != nil {
		t.Fatal(err)
	}
	again, err := c.Extract(t.Context(), "a.tar", archive, "bin/tool")
	if err != nil || again != first {
		t.Errorf("again: %s, %v", again, err)
	}
	if _, err := c.Extract(t.Context(), "a.tar", archive, "lib/real"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another member without the archive: %v", err)
	}
}

func TestExtractRefuses(t *testing.T) {
	all := archives(t)
	gz := all["a.tar.gz"]
	tests := []struct {
		name, archive, member, want string
		data                        []byte
	}{
		{"no such file", "a.tar", "bin/tol", `extracting "bin/tol" from a.tar: the archive has no such file; it has bin/absolute, bin/circle, bin/dangling, bin/hard, bin/outside and 6 more`, all["a.tar"]},
		{"in another folder", "a.tar", "tool", `extracting "tool" from a.tar: the archive has no such file; it has bin/tool, empty, bin/absolute, bin/circle, bin/dangling and 6 more`, all["a.tar"]},
		{"no such file in a zip", "a.zip", "real", `extracting "real" from a.zip: the archive has no such file; it has lib/real, bin/tool, bin/two`, all["a.zip"]},
		{"a folder", "a.tar", "bin", `extracting "bin" from a.tar: it is not a file, but has the mode drwxr-xr-x`, all["a.tar"]},
		{"a device", "a.tar", "dev/null", `extracting "dev/null" from a.tar: it is not a file, but has the mode Dcrwxr-xr-x`, all["a.tar"]},
		{"a link that leaves", "a.tar", "bin/outside", `extracting "bin/outside" from a.tar: it is a symbolic link to "../../etc/passwd", which is not in the archive`, all["a.tar"]},
		{"an absolute link", "a.tar", "bin/absolute", `extracting "bin/absolute" from a.tar: it is a symbolic link to "/etc/passwd", which is not in the archive`, all["a.tar"]},
		{"a link to nothing", "a.tar", "bin/dangling", `extracting "bin/dangling" from a.tar: the archive has no such file; it has bin/absolute, bin/circle, bin/dangling, bin/hard, bin/outside and 6 more`, all["a.tar"]},
		{"a link to itself", "a.tar", "bin/circle", `extracting "bin/circle" from a.tar: more than 16 links lead from one to the next`, all["a.tar"]},
		{"not an archive", "tool", "bin/tool", `extracting "bin/tool" from tool: it is neither a tar archive nor a zip file; remove spec.downloads[].member if it is the file itself`, []byte(strings.Repeat("#!program\n", 100))},
		{"one compressed file", "tool.gz", "bin/tool", `extracting "bin/tool" from tool.gz: it is neither a tar archive nor a zip file; remove spec.downloads[].member if it is the file itself`,
			compressed(t, []byte(strings.Repeat("#!program\n", 100)), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })},
		{"empty", "a.tar", "bin/tool", `extracting "bin/tool" from a.tar: the archive holds no files`, make([]byte, 1024)},
		{"half of one", "a.tar.gz", "lib/real", `extracting "lib/real" from a.tar.gz: reading the archive: unexpected EOF`, gz[:len(gz)/2]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := source.Cache{Dir: t.TempDir()}
			_, err := c.Extract(t.Context(), tt.archive, store(t, c, tt.data), tt.member)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A damaged archive is not extracted from, even where the member is whole.
func TestExtractDamaged(t *testing.T) {
	for name, data := range archives(t) {
		t.Run(name, func(t *testing.T) {
			c := source.Cache{Dir: t.TempDir()}
			archive := store(t, c, data)
			damaged := bytes.Clone(data)
			damaged[len(damaged)-1] ^= 1
			if err := os.WriteFile(c.Path(archive), damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := c.Extract(t.Context(), name, archive, "bin/tool")
			if !errors.As(err, new(*source.DigestError)) || !strings.Contains(err.Error(), "delete it, it will be made again") {
				t.Errorf("got %v, want a DigestError", err)
			}
		})
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarFile(f), "bin/tool")
	f.Add(zipFile(f), "bin/two")
	f.Add([]byte("\x1f\x8b"), "")
	f.Fuzz(func(t *testing.T, data []byte, member string) {
		if len(data) > 1<<16 {
			return
		}
		c := source.Cache{Dir: t.TempDir()}
		digest, err := c.Extract(t.Context(), "a", store(t, c, data), member)
		if err == nil && !c.Has(digest) {
			t.Error("it says that it has extracted a file, and there is none")
		}
	})
}
