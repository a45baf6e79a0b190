package source_test

import (
	"testing"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

const upstream = `module example.org/big

go 1.26.0

godebug default=go1.26

require (
	example.org/dep v1.2.0
	example.org/staged v0.0.0
)

replace (
	example.org/dep => example.org/fork v1.2.1
	example.org/staged => ./staging/staged
)
`

func TestWrapper(t *testing.T) {
	got, err := source.Wrapper([]byte(upstream), images.Module{Module: "example.org/big", Version: "v1.37.2", LocalReplaceVersion: "v0.37.2"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `module k8snode.io/wrapper

go 1.26.0

godebug default=go1.26

require (
	example.org/dep v1.2.0
	example.org/staged v0.0.0
	example.org/big v1.37.2
)

replace example.org/dep => example.org/fork v1.2.1

replace example.org/staged => example.org/staged v0.37.2
`
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestWrapperWithoutVersion(t *testing.T) {
	_, err := source.Wrapper([]byte(upstream), images.Module{Module: "example.org/big", Version: "v1.37.2"})
	const want = "module example.org/big@v1.37.2 replaces example.org/staged by the folder ./staging/staged: name the published version in localReplaceVersion"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestProgramName(t *testing.T) {
	for pkg, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubeadm":      "kubeadm",
		"go.etcd.io/etcd/server/v3":          "server",
		"github.com/coredns/coredns":         "coredns",
		"github.com/x/y/v2/cmd/v1tool":       "v1tool",
		"github.com/containerd/x/v2/cmd/ctr": "ctr",
	} {
		if got := source.ProgramName(images.Program{Package: pkg}); got != want {
			t.Errorf("%s: got %s, want %s", pkg, got, want)
		}
	}
	if got := source.ProgramName(images.Program{Name: "etcd", Package: "go.etcd.io/etcd/server/v3"}); got != "etcd" {
		t.Errorf("a given name: got %s", got)
	}
}
