package bootcheck_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/bootcheck"
)

// answers is a system that answers what it was told to, by the command.
type answers map[string]lab.Result

func (a answers) Run(_ context.Context, command string) (lab.Result, error) {
	result, ok := a[command]
	if !ok {
		return lab.Result{}, errors.New("the line to the guest broke")
	}
	return result, nil
}

func TestVerifyReportsEveryProblem(t *testing.T) {
	checks := []bootcheck.Check{
		{Name: "a", Command: "a"},
		{Name: "b", Command: "b"},
		{Name: "c", Command: "c", Judge: func(got string) error { return errors.New("got " + got) }},
		{Name: "d", Command: "d"},
		{Name: "e", Command: "e"},
	}
	system := answers{
		"a": {Stdout: "anything"},
		"b": {Code: 3, Stdout: "out\n", Stderr: "no such thing\n"},
		"c": {Stdout: " 7 \n"},
	}
	want := "not so: b: its command ended with exit code 3: out\nno such thing\n" +
		"not so: c: got 7\n" +
		"the line to the guest broke"
	if got := errorText(bootcheck.Verify(t.Context(), system, checks)); got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
	if err := bootcheck.Verify(t.Context(), system, checks[:1]); err != nil {
		t.Errorf("got error %v", err)
	}
}

// recipe and manifest of the tests below.
func recipe() images.Recipe {
	return images.Recipe{Spec: images.Spec{
		Sysctls:       map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 87380 6291456"},
		KernelModules: []string{"br_netfilter", "nf-conntrack"},
		Journald:      map[string]string{"Storage": "persistent", "SystemMaxUse": "1G"},
	}}
}

func manifest() images.Manifest {
	m := images.Manifest{Kernel: "7.3.4", Kubernetes: "v1.37.2", Root: images.RootInfo{RootHash: "abcd", Size: 4096}}
	m.Cmdline = images.InstalledCmdline(m.Root, m.Disk, []string{"audit=0"})
	return m
}

func allChecks() []bootcheck.Check {
	all := bootcheck.SystemChecks(recipe(), manifest(), "cp1")
	all = append(all, bootcheck.DiskChecks(recipe())...)
	all = append(all, bootcheck.KubernetesChecks(manifest(), "cp1")...)
	all = append(all, bootcheck.DockerChecks()...)
	return append(all, bootcheck.CommandLine(manifest()))
}

func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		check  string
		stdout string
		want   string
	}{
		{"no unit has failed", "running", ""},
		{"no unit has failed", "degraded", `got "degraded", want "running"`},
		{"it is the kernel of the manifest", "6.12.1", `got "6.12.1", want "7.3.4"`},
		{"the hostname is Ignition's", "cp1", ""},
		{"cgroups have version 2", "tmpfs", `got "tmpfs", want "cgroup2fs"`},
		{"the kernel was told the root hash of the manifest", "ro k8snode.verity=abcd:4096 audit=0", ""},
		{"the kernel was told the root hash of the manifest", "ro k8snode.verity=abcde:4096", `["k8snode.verity=abcd:4096"] is missing in "ro k8snode.verity=abcde:4096"`},
		{"the root is read through dm-verity", "/dev/mapper/root\n1", ""},
		{"the root is read through dm-verity", "/dev/loop0\n1", `the root is "/dev/loop0"`},
		{"the root is read through dm-verity", "/dev/mapper/root\n0", `dm-verity has "0" users`},
		{"the root is read through dm-verity", "/dev/mapper/root", `dm-verity has "" users`},
		{"/usr is read-only", "touch: cannot touch '/usr/k8snode-lab': Read-only file system", ""},
		{"nothing of the config is left", "", ""},
		{"nothing of the config is left", "/run/ignition.json", `got "/run/ignition.json", want ""`},
		{"no credential to join is left", "/etc/kubernetes/super-admin.conf", `got "/etc/kubernetes/super-admin.conf", want ""`},
		{"every sysctl is the recipe's", "net.ipv4.ip_forward = 1\nnet.ipv4.tcp_rmem = 4096\t87380\t6291456", ""},
		{"every sysctl is the recipe's", "net.ipv4.ip_forward = 0", "net.ipv4.ip_forward is 0, want 1; net.ipv4.tcp_rmem does not exist"},
		{"every module of the recipe is there", "br_netfilter\nnf_conntrack\nxfs", ""},
		{"every module of the recipe is there", "nf_conntrack", `["br_netfilter"] is missing in "nf_conntrack"`},
		{"journald is configured as in the recipe", "[Journal]\nStorage=persistent\nSystemMaxUse=1G", ""},
		{"journald is configured as in the recipe", "# Storage=persistent\nStorage=auto\nSystemMaxUse=1G\n", `Storage is "auto", want "persistent"`},
		{"journald keeps to the size in the recipe", `{"JOURNAL_NAME":"Runtime Journal","MAX_USE":"5"}` + "\n" + `{"JOURNAL_NAME":"System Journal","MAX_USE":"1073741824"}`, ""},
		{"journald keeps to the size in the recipe", `{"JOURNAL_NAME":"System Journal","MAX_USE":"4096"}`, "its limit is 4096 bytes, want 1073741824"},
		{"journald keeps to the size in the recipe", `{"JOURNAL_NAME":"Runtime Journal","MAX_USE":"5"}`, `journald did not say that it opened the system journal: "{\"JOURNAL_NAME\":\"Runtime Journal\",\"MAX_USE\":\"5\"}"`},
		{"containers are on XFS with project quotas", "xfs    rw,relatime,attr2,inode64,prjquota", ""},
		{"containers are on XFS with project quotas", "xfs    rw,relatime,noquota", `["prjquota"] is missing in "xfs    rw,relatime,noquota"`},
		{"project quotas are enforced", "Project quota state on /var/lib/containers (/dev/vda6)\n  Accounting: ON\n  Enforcement: ON\n", ""},
		{"project quotas are enforced", "Accounting: ON\n  Enforcement: OFF", `got "Accounting: ON\n  Enforcement: OFF"`},
		{"containerd and docker store on that file system", "65030\n65030\n65030", ""},
		{"containerd and docker store on that file system", "65030\n65030\n65029", `they are on the devices ["65030" "65029"]`},
		{"there is one containerd", "2", `got "2", want "1"`},
		{"docker and kubelet use that containerd", "docker\nkubelet", ""},
		{"docker and kubelet use that containerd", "kubelet", `["docker"] is missing in "kubelet"`},
		{"a container with a size limit cannot write past it", "/usr/bin/dd: error writing '/big': No space left on device\n33+0 records in", ""},
		{"a container with a size limit cannot write past it", "64+0 records in", `dd says "64+0 records in"`},
		{"the kernel's command line is that of the manifest", "BOOT_IMAGE=(hd0,gpt2)1+2 " + manifest().Cmdline, ""},
		{"the kernel's command line is that of the manifest", manifest().Cmdline + " quiet", "got \"" + manifest().Cmdline + " quiet\", want \"" + manifest().Cmdline + "\""},
	} {
		t.Run(tt.check, func(t *testing.T) {
			for _, c := range allChecks() {
				if c.Name != tt.check {
					continue
				}
				if got := errorText(c.Judge(tt.stdout)); got != tt.want {
					t.Errorf("of %q: got %q, want %q", tt.stdout, got, tt.want)
				}
				return
			}
			t.Error("there is no such check")
		})
	}
}

// A shell that cannot parse a command would only say so in a guest.
func TestCommandsAreShell(t *testing.T) {
	names := map[string]bool{}
	for _, c := range allChecks() {
		if names[c.Name] {
			t.Errorf("two checks have the name %q", c.Name)
		}
		names[c.Name] = true
		cmd := exec.CommandContext(t.Context(), "sh", "-n")
		cmd.Stdin = strings.NewReader(c.Command)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", c.Name, err, out)
		}
	}
}

const nodeDocument = `{"status": {
	"nodeInfo": {"kubeletVersion": "v1.37.2", "containerRuntimeVersion": "containerd://2.4.2"},
	"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
}}`

func TestJudgeNode(t *testing.T) {
	for _, tt := range []struct{ name, document, version, want string }{
		{"ready", nodeDocument, "v1.37.2", ""},
		{"another kubelet", nodeDocument, "v1.37.3", "it runs kubelet v1.37.2 on containerd://2.4.2, want v1.37.3 on containerd 2"},
		{"another runtime", strings.Replace(nodeDocument, "containerd:", "docker:", 1), "v1.37.2", "it runs kubelet v1.37.2 on docker://2.4.2, want v1.37.2 on containerd 2"},
		{"not ready", strings.Replace(nodeDocument, `"Ready", "status": "True"`, `"Ready", "status": "False", "reason": "R", "message": "m"`, 1), "v1.37.2", "R: m"},
		{"no condition", strings.Replace(nodeDocument, `"Ready"`, `"Steady"`, 1), "v1.37.2", "it has no condition Ready"},
		{"no document", "Error", "v1.37.2", "reading the node: invalid character 'E' looking for beginning of value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errorText(bootcheck.JudgeNode(tt.document, tt.version)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func podList(pods ...string) string { return `{"items": [` + strings.Join(pods, ",") + `]}` }

func pod(name, phase, ready string) string {
	return `{"metadata": {"name": "` + name + `"}, "status": {"phase": "` + phase + `", "conditions": [{"type": "Ready", "status": "` + ready + `", "reason": "R"}]}}`
}

func TestJudgePods(t *testing.T) {
	most := []string{
		pod("coredns-1", "Running", "True"), pod("kube-apiserver-cp1", "Running", "True"),
		pod("kube-controller-manager-cp1", "Running", "True"), pod("kube-proxy-1", "Running", "True"),
	}
	for _, tt := range []struct{ name, list, want string }{
		{"all run", podList(append(most, pod("kube-scheduler-cp1", "Running", "True"))...), ""},
		{"one is missing", podList(most...), "there is no kube-scheduler-*"},
		{"one waits", podList(append(most, pod("kube-scheduler-cp1", "Pending", "False"))...), "kube-scheduler-cp1 is Pending"},
		{"one is not ready", podList(append(most, pod("kube-scheduler-cp1", "Running", "False"))...), "kube-scheduler-cp1 is not ready: R"},
		{"no document", "", "reading the pods: unexpected end of JSON input"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errorText(bootcheck.JudgePods(tt.list)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestJudgeSecrets(t *testing.T) {
	const all = "0600 0 /etc/kubernetes/pki/ca.key\n0600 0 /etc/kubernetes/admin.conf\n0600 62379 /etc/etcd/pki/server.key\n"
	for _, tt := range []struct{ name, list, want string }{
		{"all closed", all, ""},
		{"one is open", all + "0644 0 /etc/a b.key\n", "/etc/a b.key has mode 0644"},
		{"the search does not work", "", "/etc/kubernetes/pki/ca.key was not found; /etc/kubernetes/admin.conf was not found; /etc/etcd/pki/server.key was not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errorText(bootcheck.JudgeSecrets(tt.list)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBytesOf(t *testing.T) {
	for text, want := range map[string]int64{"512": 512, "8K": 8 << 10, "100M": 100 << 20, "1G": 1 << 30, "2T": 2 << 40} {
		if got, err := bootcheck.BytesOf(text); got != want || err != nil {
			t.Errorf("BytesOf(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "1.5G", "10%"} {
		want := `"` + text + `" is not a size`
		if _, err := bootcheck.BytesOf(text); errorText(err) != want {
			t.Errorf("BytesOf(%q): got error %v, want %s", text, err, want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for _, tt := range []struct{ text, want, wantErr string }{
		{text: "40500000\n123.45\n", want: "1m22.95s"},
		{text: "0\n123.45\n", want: "0s", wantErr: "it has not started"},
		{text: "\n123.45\n", want: "0s", wantErr: `got "\n123.45\n", want two numbers`},
		{text: "x 1", want: "0s", wantErr: `strconv.ParseInt: parsing "x": invalid syntax`},
		{text: "1 x", want: "0s", wantErr: `strconv.ParseFloat: parsing "x": invalid syntax`},
	} {
		got, err := bootcheck.Elapsed(tt.text)
		if got.String() != tt.want || errorText(err) != tt.wantErr {
			t.Errorf("Elapsed(%q) = %s, %v; want %s, %s", tt.text, got, err, tt.want, tt.wantErr)
		}
	}
}

func TestScenarioNames(t *testing.T) {
	var got []string
	for _, s := range bootcheck.Scenarios() {
		got = append(got, s.Name)
	}
	want := []string{
		"kubernetes", "disk-uefi", "disk-bios", "disk-4096", "esp", "power-cut", "tampered",
		"pxe-uefi", "pxe-bios", "cd-uefi", "cd-bios", "usb-uefi", "usb-bios",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scripts/test.sh and the documentation name these (-want +got):\n%s", diff)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
