package cpio_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/k8snode/k8snode/provision/cpio"
)

// Both ways to write an archive give the same bytes.
func TestWriteLarge(t *testing.T) {
	for size := range 1030 {
		data := bytes.Repeat([]byte("x"), size)
		want, err := cpio.Archive(cpio.File{Path: "/rootfs.squashfs", Mode: 0o600, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := cpio.WriteLarge(&got, "/rootfs.squashfs", 0o600, int64(size), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d bytes: the archive has %d bytes, that of Archive %d, or they differ", size, got.Len(), len(want))
		}
	}
}

func TestWriteLargeRefuses(t *testing.T) {
	full := errors.New("disk full")
	for _, tt := range []struct {
		name, file string
		mode       fs.FileMode
		size       int64
		content    io.Reader
		want       string
	}{
		{"in a folder", "/a/b", 0, 1, strings.NewReader("x"), `archiving "/a/b": not the path of a file in the root folder`},
		{"the root", "/", 0, 1, strings.NewReader("x"), `archiving "/": not the path of a file in the root folder`},
		{"the trailer", "/TRAILER!!!", 0, 1, strings.NewReader("x"), `archiving "/TRAILER!!!": not the path of a file in the root folder`},
		{"a folder's mode", "/a", fs.ModeDir, 1, strings.NewReader("x"), `archiving "/a": mode d--------- is more than permission bits`},
		{"too large", "/a", 0, 1 << 32, strings.NewReader("x"), `archiving "/a": 4294967296 bytes is not a size that the format can say`},
		{"shorter than said", "/a", 0, 2, strings.NewReader("x"), `archiving "/a": its content is not 2 bytes long`},
		{"longer than said", "/a", 0, 2, strings.NewReader("xxx"), `archiving "/a": its content is not 2 bytes long`},
		{"not readable", "/a", 0, 2, iotest.ErrReader(full), `archiving "/a": disk full`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := cpio.WriteLarge(io.Discard, tt.file, tt.mode, tt.size, tt.content)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
		})
	}
}
