package releasetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// Handler serves what the downloads name, at paths that begin with the host:
// https://example.org/a is /example.org/a. Program returns the content of the
// program of a download.
func Handler(downloads []images.Download, program func(name string) []byte) (http.Handler, error) {
	files := map[string][]byte{}
	archives := map[string]map[string][]byte{}
	for _, d := range downloads {
		at := strings.TrimPrefix(d.URL, "https://")
		if d.Member == "" {
			files[at] = program(d.Name)
			continue
		}
		if archives[at] == nil {
			archives[at] = map[string][]byte{"LICENSE": []byte("a licence")}
		}
		archives[at][d.Member] = program(d.Name)
	}
	for at, members := range archives {
		var err error
		if files[at], err = tarGz(members); err != nil {
			return nil, fmt.Errorf("making %s: %w", at, err)
		}
	}
	for _, d := range downloads {
		at, sums := strings.TrimPrefix(d.URL, "https://"), strings.TrimPrefix(d.SHA256URL, "https://")
		line := source.SumBytes(files[at])
		if path.Base(sums) != path.Base(at)+".sha256" {
			// A list; a digest alone has the name of its file.
			line += "  " + path.Base(at)
		}
		if !bytes.Contains(files[sums], []byte(line)) {
			files[sums] = append(files[sums], line+"\n"...)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content) // whoever hung up does not want it
	}), nil
}

func tarGz(members map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		content := members[name]
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	return b.Bytes(), err
}
