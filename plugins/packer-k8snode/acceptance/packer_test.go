package acceptance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
)

//nolint:gochecknoglobals // flags of a test
var (
	packerFlag  = flag.String("packer", "", "Packer, compiled from its module")
	pluginFlag  = flag.String("plugin", "", "the plugin, with a version that is no prerelease")
	k8snodeFlag = flag.String("k8snode", "", "the program k8snode")
	agentFlag   = flag.String("agent", "", "the program k8snode-agent")
	imageFlag   = flag.String("image", "", "folder of the baked image with Kubernetes, for the data source")
	nodeFlag    = flag.Bool("node", false, "bake the recipe node, too")
)

// user is somebody with a home folder and a working folder with the example.
type user struct {
	t    *testing.T
	home string
	work string
}

// newUser makes one who has just installed the plugin.
func newUser(t *testing.T) user {
	t.Helper()
	if *packerFlag == "" || *pluginFlag == "" || *k8snodeFlag == "" || *agentFlag == "" {
		t.Skip("no -packer, -plugin, -k8snode or -agent: make test-packer passes them")
	}
	u := user{t: t, home: t.TempDir(), work: filepath.Join(t.TempDir(), "work")}
	if err := os.CopyFS(u.work, os.DirFS("../example")); err != nil {
		t.Fatal(err)
	}
	got := u.packer("plugins", "install", "--path", *pluginFlag, "github.com/k8snode/k8snode")
	got.wantOK()
	return u
}

// result is a command that ended.
type result struct {
	t      *testing.T
	args   []string
	stdout string
	stderr string
	code   int
}

// all is what a user sees.
func (r result) all() string { return r.stdout + r.stderr }

func (r result) wantOK() {
	r.t.Helper()
	if r.code != 0 {
		r.t.Fatalf("%s: exit status %d\n%s", strings.Join(r.args, " "), r.code, r.all())
	}
}

// wantFailure checks that the command failed and said why.
func (r result) wantFailure(reasons ...string) {
	r.t.Helper()
	if r.code == 0 {
		r.t.Fatalf("%s: no failure\n%s", strings.Join(r.args, " "), r.all())
	}
	r.wantText(reasons...)
}

func (r result) wantText(parts ...string) {
	r.t.Helper()
	// Packer folds long lines of diagnostics.
	flat := strings.Join(strings.Fields(r.all()), " ")
	for _, part := range parts {
		if !strings.Contains(flat, part) {
			r.t.Errorf("%s: no %q in\n%s", strings.Join(r.args, " "), part, r.all())
		}
	}
}

// command is one of Packer's, without a network.
func (u user) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--net", "--", *packerFlag}, args...)...)
	cmd.Dir = u.work
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1",
		"PACKER_CONFIG_DIR="+u.home, "PACKER_PLUGIN_PATH="+filepath.Join(u.home, "plugins"))
	return cmd
}

func (u user) packer(args ...string) result {
	u.t.Helper()
	return finish(u.t, u.command(u.t.Context(), args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{t, cmd.Args[3:], stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// write adds a template.
func (u user) write(name, content string) string {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.work, name), []byte(content), 0o600); err != nil {
		u.t.Fatal(err)
	}
	return name
}

// wantNothing checks that a build left no output and no root.
func (u user) wantNothing(output string) {
	u.t.Helper()
	left, err := filepath.Glob(filepath.Join(u.work, "*"+output+"*"))
	if err != nil {
		u.t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(u.work, "."+output+"*"))
	if err != nil {
		u.t.Fatal(err)
	}
	if left = append(left, hidden...); len(left) > 0 {
		u.t.Errorf("left behind: %v", left)
	}
}

// reference bakes the same image with k8snode itself. It is the one command
// here that may fetch.
func (u user) reference(args ...string) string {
	u.t.Helper()
	out := filepath.Join(u.work, "reference")
	cmd := exec.CommandContext(u.t.Context(), *k8snodeFlag, append([]string{"bake", "--out", out, "--agent", *agentFlag}, args...)...)
	cmd.Dir = u.work
	if b, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("baking with k8snode: %v\n%s", err, b)
	}
	return out
}

func (u user) manifest(dir string) images.Manifest {
	u.t.Helper()
	m, err := images.OpenManifest(filepath.Join(u.work, dir))
	if err != nil {
		u.t.Fatal(err)
	}
	return m
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A new user installs the plugin, and Packer's init finds it without asking
// anybody.
func TestInstall(t *testing.T) {
	u := newUser(t)
	u.packer("init", "edge.pkr.hcl").wantOK()
	u.packer("plugins", "installed").wantText("packer-plugin-k8snode_v")
	u.packer("plugins", "required", "edge.pkr.hcl").wantText(`github.com/k8snode/k8snode ">= 0.1.0"`)

	newer := u.write("newer.pkr.hcl", strings.Replace(read(t, "../example/edge.pkr.hcl"), ">= 0.1.0", ">= 99.0.0", 1))
	u.packer("init", newer).wantFailure(`Failed getting the "github.com/k8snode/k8snode" plugin`)
}

func TestDescribe(t *testing.T) {
	if *pluginFlag == "" {
		t.Skip("no -plugin: make test-packer passes it")
	}
	out, err := exec.CommandContext(t.Context(), *pluginFlag, "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Builders       []string `json:"builders"`
		PostProcessors []string `json:"post_processors"`
		Provisioners   []string `json:"provisioners"`
		Datasources    []string `json:"datasources"`
		APIVersion     string   `json:"api_version"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := got
	want.Builders, want.PostProcessors, want.Provisioners, want.Datasources, want.APIVersion =
		[]string{"-packer-default-plugin-name-"}, []string{"publish"}, []string{}, []string{"ignition"}, "x5.0"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidate(t *testing.T) {
	u := newUser(t)
	for _, template := range []string{"edge.pkr.hcl", "node.pkr.hcl"} {
		u.packer("validate", template).wantOK()
	}
	u.packer("validate", "-var", "passphrase=correct horse", "config.pkr.hcl").wantOK()
	u.packer("inspect", "edge.pkr.hcl").wantText("k8snode.edge", "checksum", "provisioned")

	for _, tc := range []struct {
		name, body string
		want       []string
	}{
		{"wrong type", `recipe = ["node"]`, []string{"bad.pkr.hcl line 2", "Incorrect attribute value type", "string required"}},
		{"unknown argument", `recipee = "node"`, []string{"bad.pkr.hcl line 2", "Unsupported argument", `Did you mean "recipe"?`}},
		{"missing recipe", `recipe = "nod"`, []string{`recipe: there is no recipe "nod": the embedded recipes are node, release`}},
		{"missing file", `recipe = "./nod.yaml"`, []string{`reading recipe "./nod.yaml"`, "no such file"}},
		{"all at once", `
  recipe            = "recipes/edge.yaml"
  outputs           = ["raw", "vmdk", "raw"]
  compression_level = 30
  jobs              = -1
  set = {
    "spec.disk.espMiB"       = "1"
    "spec.disk.nothing"      = "1"
    "spec.disk.compressionLevel" = "3"
  }`, []string{
			`outputs[1]: there is no output "vmdk": use raw, zstd, pxe, iso, installer`,
			`outputs[2]: "raw" is there twice`,
			"compression_level: 30 is not a level of zstd: use 1 to 22",
			"jobs: -1 makes no sense",
			`set["spec.disk.compressionLevel"]: compression_level says the same`,
			`set["spec.disk.nothing"]: `,
		}},
		{"two overrides", `
  recipe = "recipes/edge.yaml"
  set = { "spec.disk.espMiB" = "1", "spec.disk.rootMiB" = "many" }`, []string{
			`set["spec.disk.rootMiB"]: `,
		}},
		{"a broken recipe", `recipe = "bad.yaml"`, []string{"bad.yaml:3:1: ", "bad.yaml:5:3: "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u.t = t
			u.write("bad.yaml", "apiVersion: k8snode.io/v1alpha1\nkind: Image\nmetadate: {name: x}\nspec:\n  kernal: {}\n")
			u.write("bad.pkr.hcl", "source \"k8snode\" \"bad\" {\n  "+tc.body+"\n}\nbuild {\n  sources = [\"k8snode.bad\"]\n}\n")
			u.packer("validate", "bad.pkr.hcl").wantFailure(tc.want...)
		})
	}
}

// The bytes are those of "k8snode bake", and Packer's post-processors work on
// them.
func TestPlain(t *testing.T) {
	u := newUser(t)
	reference := u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.sysctls.vm.swappiness=10", "--set", "spec.outputs=[zstd, pxe]")
	if err := os.Mkdir(filepath.Join(u.work, "output-plain"), 0o755); err != nil {
		t.Fatal(err)
	}
	u.packer("build", "-only", "plain.*", "edge.pkr.hcl").
		wantFailure("output_directory: output-plain exists: run Packer with -force to replace it")
	u.packer("build", "-force", "-only", "plain.*", "edge.pkr.hcl").
		wantFailure("output_directory: output-plain is not an image of k8snode, and is not replaced even with -force")
	if err := os.Remove(filepath.Join(u.work, "output-plain")); err != nil {
		t.Fatal(err)
	}

	got := u.packer("build", "-only", "plain.*", "edge.pkr.hcl")
	got.wantOK()
	sums := read(t, filepath.Join(reference, images.SumsFile))
	if diff := cmp.Diff(sums, read(t, filepath.Join(u.work, "output-plain", images.SumsFile))); diff != "" {
		t.Errorf("other bytes than k8snode's (-k8snode +packer):\n%s", diff)
	}
	m := u.manifest("output-plain")
	got.wantText("image "+m.ID+" has kernel "+m.Kernel, "verify")
	checksums := read(t, filepath.Join(u.work, "output-plain.sha256"))
	for _, a := range m.Artifacts {
		if !strings.Contains(checksums, a.SHA256+"\t"+filepath.Base(a.Path)) {
			t.Errorf("the post-processor's checksums do not have %s %s:\n%s", a.SHA256, a.Path, checksums)
		}
	}
	var list struct {
		Builds []struct {
			ArtifactID string `json:"artifact_id"`
		} `json:"builds"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(u.work, "packer-manifest.json"))), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Builds) != 1 || list.Builds[0].ArtifactID != m.ID {
		t.Errorf("Packer's manifest: %+v, want the image %s", list, m.ID)
	}

	// Nothing to do, and programs can read it.
	again := u.packer("-machine-readable", "build", "-force", "-only", "plain.*", "edge.pkr.hcl")
	again.wantOK()
	if !strings.Contains(again.stdout, ",k8snode-artifact,disk.raw.zst,") || !strings.Contains(again.stdout, ",artifact,0,id,"+m.ID) {
		t.Errorf("for machines:\n%s", again.stdout)
	}
}

// What provisioners change is in the image, and in its manifest.
func TestProvisioned(t *testing.T) {
	u := newUser(t)
	u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.sysctls.vm.swappiness=10", "--set", "spec.outputs=[zstd, pxe]")
	plain := u.manifest("reference")
	u.packer("build", "-only", "provisioned.*", "edge.pkr.hcl").wantOK()

	m := u.manifest("output-provisioned")
	if m.ID == plain.ID {
		t.Error("the image has the ID of the one without provisioners")
	}
	changes := map[string]images.ChangeKind{}
	for _, c := range m.Provisioned {
		changes[c.Path] = c.Change
	}
	want := map[string]images.ChangeKind{
		"/etc/motd":  images.ChangeModified,
		"/etc/issue": images.ChangeModified,
		"/usr/lib/systemd/system-preset/50-edge.preset": images.ChangeAdded,
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	root := filepath.Join(u.work, "output-provisioned", filepath.FromSlash(images.RootFile))
	motd, err := exec.CommandContext(t.Context(), "unsquashfs", "-cat", root, "etc/motd").Output()
	if err != nil || string(motd) != "welcome\n" {
		t.Errorf("/etc/motd is %q, %v", motd, err)
	}
	verify := exec.CommandContext(t.Context(), *k8snodeFlag, "verify", filepath.Join(u.work, "output-provisioned"))
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "3 files were changed by provisioners") {
		t.Errorf("verifying it: %v\n%s", err, out)
	}
	left, err := filepath.Glob(filepath.Join(u.work, "*.root-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

const provisionTemplate = `source "k8snode" "t" {
  recipe           = "recipes/edge.yaml"
  outputs          = ["pxe"]
  output_directory = "output-t"
  offline          = true
  %OPTIONS%
}
build {
  sources = ["k8snode.t"]
  provisioner "shell" { inline = [%INLINE%] }
  error-cleanup-provisioner "shell" { inline = ["echo cleaning up; test -e /etc/before"] }
}
`

func (u user) template(options, inline string) string {
	return u.write("t.pkr.hcl", strings.NewReplacer("%OPTIONS%", options, "%INLINE%", inline).Replace(provisionTemplate))
}

// A provisioner that fails ends the build; -on-error says what is left.
func TestProvisionerFails(t *testing.T) {
	u := newUser(t)
	u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.outputs=[pxe]")

	file := u.template("reproducible = true", `"true"`)
	u.packer("build", file).wantFailure("reproducible = true refuses provisioners that touch the root")
	u.wantNothing("output-t")

	file = u.template("", `"touch /etc/before", "echo no good >&2", "exit 7"`)
	failed := u.packer("build", file)
	failed.wantFailure("no good", "non-zero exit status: 7", "cleaning up")
	u.wantNothing("output-t")

	kept := u.packer("build", "-on-error=abort", file)
	kept.wantFailure("the unpacked root is ")
	roots, err := filepath.Glob(filepath.Join(u.work, "output-t.root-*"))
	if err != nil || len(roots) != 1 {
		t.Fatalf("roots that were kept: %v, %v", roots, err)
	}
	if _, err := os.Stat(filepath.Join(roots[0], "etc/before")); err != nil {
		t.Errorf("the root is not as the provisioner left it: %v", err)
	}
	if strings.Contains(kept.all(), "cleaning up") {
		t.Errorf("the cleanup provisioner ran:\n%s", kept.all())
	}
	if err := os.RemoveAll(roots[0]); err != nil {
		t.Fatal(err)
	}

	u.packer("build", "-on-error=run-cleanup-provisioner", file).wantFailure("cleaning up")
}

// Ctrl-C in the middle of a provisioner ends it, and leaves nothing.
func TestCancelled(t *testing.T) {
	u := newUser(t)
	u.reference("--recipe", "recipes/edge.yaml", "--set", "spec.outputs=[pxe]")
	file := u.template("", `"echo sleeping as $$", "exec sleep 86399"`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := u.command(ctx, "build", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	buf := make([]byte, 4096)
	interrupted := false
	for {
		n, err := stdout.Read(buf)
		said.Write(buf[:n])
		if !interrupted && strings.Contains(said.String(), "sleeping as") {
			interrupted = true
			// As a terminal does it: to everybody in the foreground.
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err == nil || !interrupted {
		t.Fatalf("interrupted: %v, ended with %v\n%s%s", interrupted, err, said.String(), stderr.String())
	}
	u.wantNothing("output-t")
	if slept := sleepers(t); len(slept) > 0 {
		t.Errorf("still running: %v", slept)
	}
}

// sleepers are the processes of the cancelled provisioner.
func sleepers(t *testing.T) []string {
	t.Helper()
	var found []string
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), "86399") {
			found = append(found, f)
		}
	}
	return found
}
