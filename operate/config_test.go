package operate_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"testing"
)

// config is an Ignition config with files, given as paths and contents; each
// content has another form.
func config(t *testing.T, files ...any) []byte {
	t.Helper()
	type contents struct {
		Source      string `json:"source"`
		Compression string `json:"compression,omitempty"`
	}
	type file struct {
		Path     string   `json:"path"`
		Contents contents `json:"contents"`
	}
	var all []file
	for i := 0; i < len(files); i += 2 {
		path, content := files[i].(string), files[i+1].([]byte)
		f := file{Path: path, Contents: contents{Source: "data:," + url.PathEscape(string(content))}}
		if i > 0 {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f.Contents = contents{Source: "data:;base64," + base64.StdEncoding.EncodeToString(packed.Bytes()), Compression: "gzip"}
		}
		all = append(all, f)
	}
	text, err := json.Marshal(map[string]any{"storage": map[string]any{"files": all}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
