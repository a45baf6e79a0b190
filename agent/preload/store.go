package preload

import (
	"fmt"

	"github.com/k8snode/k8snode/agent/node"
)

// A store is where a runtime keeps images.
type store struct {
	program string
	// list are the arguments that print the references that are there.
	list []string
	// imports are the arguments of the commands that import an archive. What
	// an earlier attempt left of it may be damaged by a power cut.
	imports func(archive string, references []string) [][]string
	// dir is on the file system that must be written before an archive is
	// remembered as imported.
	dir string
}

func storeOf(runtime node.Runtime) (store, error) {
	switch runtime {
	case "", node.Containerd:
		return store{"ctr", ctrArgs("images", "ls", "-q"), ctrImports, "/var/lib/containerd"}, nil
	case node.Docker:
		return store{"docker", []string{"image", "ls", "--format", "{{.Repository}}:{{.Tag}}"}, dockerImports, "/var/lib/docker"}, nil
	}
	return store{}, fmt.Errorf("runtime %q is unknown", runtime)
}

const (
	socket    = "/run/containerd/containerd.sock"
	namespace = "k8s.io"
	// pinned keeps an image from the kubelet's garbage collection:
	// github.com/containerd/containerd, internal/cri/labels.
	pinned = "io.cri-containerd.pinned=pinned"
)

func ctrArgs(args ...string) []string {
	return append([]string{"--address", socket, "-n", namespace}, args...)
}

// ctrImports import with the client's own code: the transfer service of the
// daemon sends every byte through one more socket and takes a third longer. A
// layer is on the disk before it is on record: nothing looks at its files later.
func ctrImports(archive string, references []string) [][]string {
	all := [][]string{ctrArgs("images", "import", "--local", "--sync-fs", archive)}
	for _, reference := range references {
		all = append(all, ctrArgs("images", "label", reference, pinned))
	}
	return all
}

// dockerImports load an archive. Docker knows no pinned image: one that the
// kubelet has collected is loaded again at the next start.
//
// It takes a layer that is there for whole, so what an attempt left goes first.
func dockerImports(archive string, references []string) [][]string {
	return [][]string{
		append([]string{"image", "rm", "--force"}, references...),
		{"load", "--quiet", "--input", archive},
	}
}
