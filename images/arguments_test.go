package images_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
)

func TestManifestArguments(t *testing.T) {
	disk := images.DiskInfo{GUID: "497D4BAF-2BE0-5374-942B-14F18824784C"}
	for _, want := range [][]string{
		{"console=tty0", "console=ttyS0,115200n8", "audit=0"},
		{},
	} {
		m := images.Manifest{Cmdline: images.InstalledCmdline(images.RootInfo{RootHash: "ab", Size: 4096}, disk, want)}
		if diff := cmp.Diff(want, m.Arguments()); diff != "" {
			t.Errorf("arguments of %q (-want +got):\n%s", m.Cmdline, diff)
		}
	}
}
