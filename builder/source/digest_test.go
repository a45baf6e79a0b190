package source_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/k8snode/k8snode/builder/source"
)

func TestReader(t *testing.T) {
	const text = "the bytes that the lock names"
	sum := source.SumBytes([]byte(text))
	for _, tc := range []struct {
		name, content, want, err string
	}{
		{name: "the right bytes", content: text, want: sum},
		{name: "one byte more", content: text + "!", want: sum,
			err: "p: digest mismatch after 30 bytes: got sha256:" + source.SumBytes([]byte(text+"!")) + ", want sha256:" + sum},
		{name: "nothing", content: "", want: sum,
			err: "p: digest mismatch after 0 bytes: got sha256:" + source.SumBytes(nil) + ", want sha256:" + sum},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "data with EOF": iotest.DataErrReader,
			} {
				got, err := io.ReadAll(source.NewReader("p", wrap(strings.NewReader(tc.content)), tc.want))
				if tc.err == "" {
					if err != nil || string(got) != tc.content {
						t.Errorf("%s: got %q, %v", name, got, err)
					}
					continue
				}
				var de *source.DigestError
				if !errors.As(err, &de) || err.Error() != tc.err {
					t.Errorf("%s: error %v, want %s", name, err, tc.err)
				}
			}
		})
	}
}
