package acceptance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The data source gives the config that "k8snode render" writes, and Packer
// shows nothing of it.
func TestConfig(t *testing.T) {
	u := newUser(t)
	if *imageFlag == "" {
		t.Skip("no -image: make test-packer passes it")
	}
	passphrase := filepath.Join(u.work, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := exec.CommandContext(t.Context(), *k8snodeFlag, "secrets", "init", "--out", filepath.Join(u.work, "secrets.age"), "--passphrase-file", passphrase)
	if out, err := secrets.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	build := func(vars ...string) result {
		args := []string{"build"}
		for _, v := range append([]string{"passphrase=correct horse", "image=" + *imageFlag}, vars...) {
			args = append(args, "-var", v)
		}
		return u.packer(append(args, "config.pkr.hcl")...)
	}

	got := build("node=w1")
	got.wantOK()
	config := read(t, filepath.Join(u.work, "w1.ign"))
	sum := sha256.Sum256([]byte(config))
	got.wantText("worker " + hex.EncodeToString(sum[:]))
	if !strings.Contains(config, `"ignition":{`) || !strings.Contains(config, "PRIVATE%20KEY") && !strings.Contains(config, "base64") {
		t.Errorf("no config with keys: %.200s", config)
	}
	for _, secret := range []string{"correct horse", config} {
		if strings.Contains(got.all(), secret) {
			t.Error("Packer printed a secret")
		}
	}

	build("node=w9").wantFailure(`has no node "w9": its nodes are cp1, w1`)
	build("passphrase=wrong").wantFailure("reading ", "secrets.age")
	build("image=nowhere").wantFailure("image: ", "nowhere")
	both := u.write("both.pkr.hcl", strings.Replace(read(t, "../example/config.pkr.hcl"),
		"passphrase = var.passphrase", "passphrase = var.passphrase\n  passphrase_file = \"x\"", 1))
	u.packer("validate", "-evaluate-datasources", "-var", "passphrase=correct horse", both).
		wantFailure("passphrase, passphrase_file: give exactly one of them")
}

// The node image is the same from Packer as from k8snode.
func TestNode(t *testing.T) {
	u := newUser(t)
	if !*nodeFlag || *imageFlag == "" {
		t.Skip("no -node: make test-packer passes it")
	}
	u.packer("build", "-var", "offline=true", "node.pkr.hcl").wantOK()
	if a, b := read(t, filepath.Join(*imageFlag, "SHA256SUMS")), read(t, filepath.Join(u.work, "output-node", "SHA256SUMS")); a != b {
		t.Errorf("other bytes than k8snode's:\n%s\n%s", a, b)
	}
}

// Files and folders go in and out of the root.
func TestTransfers(t *testing.T) {
	u := newUser(t)
	u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.outputs=[pxe]")
	tree := filepath.Join(u.work, "tree")
	for _, dir := range []string{"sub", "left-out"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"run.sh": 0o755, "sub/conf": 0o640} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte("# "+name+"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	file := u.write("t.pkr.hcl", `source "k8snode" "t" {
  recipe           = "recipes/edge.yaml"
  outputs          = ["pxe"]
  output_directory = "output-t"
  offline          = true
}
build {
  sources = ["k8snode.t"]
  provisioner "file" {
    source      = "tree/"
    destination = "/opt/a"
  }
  provisioner "file" {
    source      = "tree"
    destination = "/opt/b"
  }
  provisioner "shell" {
    inline = [
      "set -eux",
      "test -x /opt/a/run.sh; test -x /opt/b/tree/run.sh",
      "test \"$(stat -c '%a %U:%G' /opt/a/sub/conf)\" = '640 root:root'",
      "test ! -e /etc/hostname-of-the-host; test $$ -lt 100",
      "ln -s /etc/passwd /opt/a/outside",
      "echo made in the root >/opt/a/made",
      "mkdir -p /out; cp -a /opt/a/. /out/",
      "rm -r /opt/a /opt/b",
    ]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/out/made"
    destination = "made"
  }
  provisioner "file" {
    direction   = "download"
    source      = "/out/"
    destination = "back/"
  }
  provisioner "shell" { inline = ["rm -r /out"] }
}
`)
	u.packer("build", file).wantOK()
	for name, want := range map[string]string{
		"made": "made in the root\n", "back/made": "made in the root\n", "back/run.sh": "# run.sh\n", "back/sub/conf": "# sub/conf\n",
	} {
		if got := read(t, filepath.Join(u.work, name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(u.work, "back/outside")); err != nil || to != "/etc/passwd" {
		t.Errorf("the link came back as %q, %v", to, err)
	}
	// Everything was undone: it is the image without provisioners.
	if a, b := u.manifest("reference"), u.manifest("output-t"); a.ID != b.ID || len(b.Provisioned) != 0 {
		t.Errorf("changed: %v, ID %s, without provisioners %s", b.Provisioned, b.ID, a.ID)
	}
}
