package cli_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/internal/qemu"
)

// What is missing is named at once, with what installs it.
func TestBootNamesWhatIsMissing(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	installed := fstest.MapFS{qemu.FirmwareCode[1:]: {}, qemu.FirmwareVars[1:]: {}}
	const (
		firmware = "looking for the UEFI firmware: open usr/share/OVMF/OVMF_CODE_4M.fd: file does not exist\n" +
			"open usr/share/OVMF/OVMF_VARS_4M.fd: file does not exist\n"
		emulator = "looking for qemu-system-x86_64: executable file not found in $PATH\n"
		images   = "looking for qemu-img: executable file not found in $PATH\n"
		remedy   = "run scripts/host-packages.sh test"
	)
	for _, tt := range []struct {
		firmware, from string
		root           fstest.MapFS
		want           string
	}{
		{"uefi", "disk", fstest.MapFS{}, firmware + emulator + images + remedy},
		{"uefi", "disk", installed, emulator + images + remedy},
		{"bios", "iso", fstest.MapFS{}, emulator + remedy},
	} {
		if err := cli.CheckBootHost(tt.firmware, tt.from, tt.root); err == nil || err.Error() != tt.want {
			t.Errorf("%s from %s: got %v, want %s", tt.firmware, tt.from, err, tt.want)
		}
	}
	for _, program := range []string{qemu.Program, qemu.ImageProgram} {
		if err := os.WriteFile(filepath.Join(bin, program), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := cli.CheckBootHost("uefi", "disk", installed); err != nil {
		t.Errorf("nothing is missing, got %v", err)
	}
}
