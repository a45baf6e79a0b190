package rack

import (
	"strings"
	"testing"

	"github.com/k8snode/k8snode/provision/cpio"
)

func TestNewcFile(t *testing.T) {
	archive, err := cpio.Archive(cpio.File{Path: "/etc/a/one", Mode: 0o600, Data: []byte("1")}, cpio.File{Path: "/etc/two", Mode: 0o600, Data: []byte("twelve")})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"etc/a/one": "1", "etc/two": "twelve"} {
		if got, err := newcFile(archive, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, tt := range map[string]struct {
		archive []byte
		want    string
	}{
		"another file": {archive, "the archive has no etc/none"},
		"cut":          {archive[:len(archive)/2], "the archive"},
		"a page":       {[]byte(strings.Repeat("<html>", 50)), "it is no cpio archive"},
		"nothing":      {nil, "the archive has no etc/none"},
	} {
		if _, err := newcFile(tt.archive, "etc/none"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
