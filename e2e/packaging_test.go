package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPackaging has the image's systemd read the unit of the server, and the
// program the arguments of both its packages.
func TestPackaging(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	unit := packaged(t, "k8snode-serve.service")
	root := filepath.Join(t.TempDir(), "root")
	run(t, "unsquashfs", "-quiet", "-no-progress", "-dest", root, filepath.Join(*image, "pxe", "rootfs.squashfs"))
	write(t, filepath.Join(root, "etc/systemd/system/k8snode-serve.service"), unit)
	run(t, "cp", *k8snode, filepath.Join(root, "usr/bin/k8snode"))
	if out, err := inRoot(t, root, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "k8snode-serve.service"); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths: 0 is a program that can do nothing, 100 one that can do everything.
	if out, err := inRoot(t, root, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", "k8snode-serve.service"); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}

	command := regexp.MustCompile(`(?s)ExecStart=/usr/bin/k8snode (.*?)\n[A-Z]`).FindStringSubmatch(unit)
	if command == nil {
		t.Fatal("the unit starts nothing")
	}
	dir := t.TempDir()
	expand := strings.NewReplacer(`\`, "", "${CREDENTIALS_DIRECTORY}", dir, "${STATE_DIRECTORY}", dir, "${RUNTIME_DIRECTORY}", dir, "$K8SNODE_SERVE", "", "/etc/k8snode", dir)
	understands(t, dir, strings.Fields(expand.Replace(command[1])))

	entry := regexp.MustCompile(`(?m)^ENTRYPOINT (\[.*\])$`).FindStringSubmatch(packaged(t, "Containerfile"))
	if entry == nil {
		t.Fatal("the container starts nothing")
	}
	var args []string
	if err := json.Unmarshal([]byte(entry[1]), &args); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.NewReplacer("/etc/k8snode", dir, "/var/lib/k8snode", dir).Replace(args[i])
	}
	understands(t, dir, args[1:])
}

// understands runs the program with arguments that are right, in a folder that
// holds nothing: the cluster document is the first that it misses.
func understands(t *testing.T, dir string, args []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), *k8snode, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "open "+filepath.Join(dir, "cluster.yaml")+": no such file or directory") {
		t.Errorf("k8snode %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// packaged reads a file of the folder packaging. The tests run in the folder of the
// module, or with "go test" in this one.
func packaged(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"packaging", filepath.Join("..", "packaging")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return read(t, filepath.Join(dir, name))
		}
	}
	t.Fatalf("there is no packaging/%s", name)
	return ""
}
