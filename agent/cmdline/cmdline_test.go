package cmdline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/cmdline"
)

const (
	guid = "9d6b56a5-40d1-5df5-a88d-3854fb4cee43"
	disk = "497d4baf-2be0-5374-942b-14f18824784c"
	hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

	verityWord = "k8snode.verity=" + hash + ":8192"
)

var verity = cmdline.Verity{RootHash: hash, HashOffset: 8192}

func TestMediumLabel(t *testing.T) {
	for line, want := range map[string]string{
		"": "",
		"quiet k8snode.medium=K8SNODE-0123ABCD x": "K8SNODE-0123ABCD",
		"k8snode.medium=a k8snode.medium=b":       "b",
		"-- k8snode.medium=a":                     "",
	} {
		if got, err := cmdline.MediumLabel(line); got != want || err != nil {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	if _, err := cmdline.MediumLabel("k8snode.medium=../sda"); err == nil || err.Error() != "reading the kernel command line: k8snode.medium=../sda is not a volume label" {
		t.Errorf("got %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       cmdline.Args
	}{
		{
			"installed disk",
			"BOOT_IMAGE=/vmlinuz root=/dev/mapper/root ro " + verityWord + " k8snode.root=partuuid:" + guid + " k8snode.disk=" + disk + " quiet\n",
			cmdline.Args{Root: cmdline.Root{Kind: cmdline.Partition, Value: guid}, Verity: verity, State: cmdline.Disk, DiskGUID: disk},
		},
		{
			"medium",
			verityWord + " k8snode.root=label:K8SNODE_1",
			cmdline.Args{Root: cmdline.Root{Kind: cmdline.Medium, Value: "K8SNODE_1"}, Verity: verity, State: cmdline.Tmpfs},
		},
		{
			"file, state on disk, the last word wins",
			"k8snode.state=tmpfs k8snode.root=label:x k8snode.root=file:/rootfs.squashfs " + verityWord + " k8snode.state=disk",
			cmdline.Args{Root: cmdline.Root{Kind: cmdline.File, Value: "/rootfs.squashfs"}, Verity: verity, State: cmdline.Disk},
		},
		{
			"remote, quoted, with a config; what follows -- is for init",
			`"k8snode.root=http://10.0.0.1:8080/r?a=b c" ` + verityWord + " ignition.config.url=https://10.0.0.1/c -- k8snode.state=x",
			cmdline.Args{
				Root: cmdline.Root{Kind: cmdline.Remote, Value: "http://10.0.0.1:8080/r?a=b c"}, Verity: verity,
				State: cmdline.Tmpfs, ConfigURL: "https://10.0.0.1/c",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cmdline.Parse(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(tt.line, "k8snode.root="+got.Root.String()) {
				t.Errorf("the root prints as %s", got.Root)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	const remedy = ": correct it in the boot menu or the boot script"
	for _, tt := range []struct{ name, line, want string }{
		{"nothing", "", "k8snode.root= is missing; k8snode.verity= is missing"},
		{"unknown kind", verityWord + " k8snode.root=uuid:1", "k8snode.root=uuid:1 begins with none of partuuid:, label:, file:, http:// and https://"},
		{"upper-case GUID", verityWord + " k8snode.disk=" + disk + " k8snode.root=partuuid:" + strings.ToUpper(guid), "k8snode.root=partuuid:" + strings.ToUpper(guid) + " is not a lower-case partition GUID"},
		{"label that leaves the folder", verityWord + " k8snode.root=label:../x", "k8snode.root=label:../x is not a volume label"},
		{"relative path", verityWord + " k8snode.root=file:rootfs", "k8snode.root=file:rootfs is not the absolute path of a file"},
		{"path with dots", verityWord + " k8snode.root=file:/a/../b", "k8snode.root=file:/a/../b is not the absolute path of a file"},
		{"URL without host", verityWord + " k8snode.root=http:///x", "k8snode.root=http:///x is not a URL"},
		{"disk without its table", verityWord + " k8snode.root=partuuid:" + guid, "k8snode.disk= is not a lower-case GUID"},
		{"short hash", "k8snode.root=label:x k8snode.verity=00:4096", "k8snode.verity=00:4096 does not begin with a root hash of 64 lower-case hexadecimal digits"},
		{"no offset", "k8snode.root=label:x k8snode.verity=" + hash, "k8snode.verity=" + hash + " does not end in an offset in bytes that is a multiple of 4096"},
		{"odd offset", "k8snode.root=label:x k8snode.verity=" + hash + ":4097", "k8snode.verity=" + hash + ":4097 does not end in an offset in bytes that is a multiple of 4096"},
		{"huge offset", "k8snode.root=label:x k8snode.verity=" + hash + ":9223372036854771712", "k8snode.verity=" + hash + ":9223372036854771712 does not end in an offset in bytes that is a multiple of 4096"},
		{"state", verityWord + " k8snode.root=label:x k8snode.state=nvram", "k8snode.state=nvram is neither disk nor tmpfs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cmdline.Parse(tt.line)
			want := "reading the kernel command line: " + tt.want + remedy
			if err == nil || err.Error() != want {
				t.Errorf("got error\n%v\nwant\n%s", err, want)
			}
			if diff := cmp.Diff(cmdline.Args{}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("k8snode.root=file:/rootfs.squashfs " + verityWord)
	f.Add(`"k8snode.root=http://h/" k8snode.disk=` + disk)
	f.Fuzz(func(t *testing.T, line string) {
		args, err := cmdline.Parse(line)
		if err != nil {
			return
		}
		if args.Verity.HashOffset <= 0 || args.Verity.HashOffset%cmdline.BlockSize != 0 || len(args.Verity.RootHash) != 64 {
			t.Errorf("verity is %+v", args.Verity)
		}
		if args.Root.Value == "" || (args.State != cmdline.Disk && args.State != cmdline.Tmpfs) {
			t.Errorf("got %+v", args)
		}
		if args.Root.Kind == cmdline.Partition && args.DiskGUID == "" {
			t.Error("an installed disk has no GUID")
		}
	})
}
