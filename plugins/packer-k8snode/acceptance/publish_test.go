package acceptance_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
)

const publishTemplate = `source "k8snode" "t" {
  recipe           = "recipes/edge.yaml"
  outputs          = ["zstd", "pxe"]
  set              = { "spec.sysctls.vm.swappiness" = "10" }
  output_directory = "output-t"
  offline          = true
}
build {
  sources = ["k8snode.t"]
  post-processor "k8snode-publish" {
    %TO%
  }
}
`

// server is a running "k8snode serve" with a library of images.
func (u user) server() (socket, library string) {
	u.t.Helper()
	passphrase := filepath.Join(u.work, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		u.t.Fatal(err)
	}
	secrets := exec.CommandContext(u.t.Context(), *k8snodeFlag, "secrets", "init", "--out", "secrets.age", "--passphrase-file", passphrase)
	secrets.Dir = u.work
	if out, err := secrets.CombinedOutput(); err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
	socket, library = filepath.Join(u.work, "run", "k8snode.sock"), filepath.Join(u.work, "images")
	var said bytes.Buffer
	// The address of the cluster document, in a network of its own.
	serve := exec.Command("unshare", "--net", "--", "sh", "-c",
		`ip link set lo up; ip address add 10.77.0.1/24 dev lo; exec "$@"`, "sh",
		*k8snodeFlag, "serve", "--images", library, "--socket", socket, "--passphrase-file", passphrase)
	serve.Dir, serve.Stderr = u.work, &said
	if err := serve.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		if err := serve.Wait(); err != nil {
			u.t.Errorf("serving: %v\n%s", err, said.String())
		}
	})
	for range 100 {
		if _, err := os.Stat(socket); err == nil {
			return socket, library
		}
		time.Sleep(100 * time.Millisecond)
	}
	u.t.Fatal("the server did not open its socket")
	return "", ""
}

func (u user) k8snode(args ...string) string {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), *k8snodeFlag, args...)
	cmd.Dir = u.work
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (u user) publish(to string) result {
	u.t.Helper()
	file := u.write("publish.pkr.hcl", strings.Replace(publishTemplate, "%TO%", to, 1))
	return u.packer("build", "-force", file)
}

// A build ends on the server, or in a folder.
func TestPublish(t *testing.T) {
	u := newUser(t)
	u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.sysctls.vm.swappiness=10", "--set", "spec.outputs=[zstd, pxe]")
	u.publish("").wantFailure("socket, directory: give exactly one of them")
	u.publish(`socket = "run/nobody.sock"`).wantFailure("publishing to run/nobody.sock")

	u.publish("directory = \"folder\"\n activate = true").wantText("published image", "new installs get it")
	m := u.manifest("output-t")
	if got := strings.TrimSpace(read(t, filepath.Join(u.work, "folder", "current"))); got != m.ID {
		t.Errorf("active in the folder: %s, want %s", got, m.ID)
	}
	u.k8snode("verify", filepath.Join("folder", m.ID))

	socket, library := u.server()
	u.publish(`socket = "` + socket + `"`).wantText("published image " + m.ID)
	for _, a := range m.Artifacts {
		if a.Path == images.RawFile {
			continue
		}
		st, err := os.Stat(filepath.Join(library, m.ID, filepath.FromSlash(a.Path)))
		if err != nil || st.Size() != a.Size {
			t.Errorf("%s on the server: %v", a.Path, err)
		}
	}
	if list := u.k8snode("images", "list", "--socket", socket); !strings.Contains(list, m.ID+"  edge") {
		t.Errorf("images:\n%s", list)
	}
	// It has no Kubernetes, and the cluster asks for one.
	u.publish("socket = \"" + socket + "\"\n activate = true").
		wantFailure("activating an image: image " + m.ID + " has no Kubernetes, the cluster document asks for v1.37.2")
}
