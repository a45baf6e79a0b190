package cli_test

import (
	"bytes"
	"testing"

	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/provision/admin"
)

func TestPrintImages(t *testing.T) {
	var b bytes.Buffer
	if err := cli.PrintImages(&b, []admin.Image{
		{ID: "3f2a", Name: "node", Kubernetes: "v1.37.2", Kernel: "7.3", Size: 3 << 30, Active: true},
		{ID: "77aa", Name: "edge", Kernel: "7.3", Size: 2 << 20},
		{ID: "90bb", Size: 4 << 20, Upload: &admin.Upload{Have: 1 << 20}},
		{ID: "91bb", Upload: &admin.Upload{}},
	}); err != nil {
		t.Fatal(err)
	}
	const want = `ID    NAME  KUBERNETES  KERNEL  SIZE      STATE
3f2a  node  v1.37.2     7.3     3072 MiB  active
77aa  edge              7.3     2 MiB     
90bb                            4 MiB     upload 25%
91bb                            0 B       upload 0%
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestImageID(t *testing.T) {
	all := []admin.Image{{ID: "3f2a"}, {ID: "3f2b"}, {ID: "3f2b00"}, {ID: "90bb"}}
	for _, tt := range []struct{ prefix, want, wantErr string }{
		{"9", "90bb", ""},
		{"3f2a", "3f2a", ""},
		{"3f2b", "3f2b", ""}, // which is whole, and the beginning of another
		{"3f2b0", "3f2b00", ""},
		{"3f", "", "3f is the beginning of several images: 3f2a, 3f2b, 3f2b00"},
		{"x", "", `there is no image x: see "k8snode images list"`},
	} {
		id, err := cli.ImageID(all, tt.prefix)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if id != tt.want || got != tt.wantErr {
			t.Errorf("%s: %q, %v", tt.prefix, id, err)
		}
	}
}
