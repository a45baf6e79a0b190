package lab_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/lab"
)

func TestHardwareArgs(t *testing.T) {
	hw := lab.Hardware{
		Name:         "cp1",
		MAC:          "52:54:00:6b:00:0b",
		MemoryMiB:    6144,
		CPUs:         2,
		Accelerator:  lab.TCG,
		FirmwareCode: "/ovmf/code.fd",
		FirmwareVars: "/lab/a,b/vars.fd",
		Disk:         "/lab/a,b/disk.raw",
		Tap:          "tap1",
		Console:      "/lab/a,b/console.log",
		QMP:          "/run/cp1.qmp",
	}
	want := []string{
		"-name", "cp1",
		"-machine", "q35",
		"-accel", "tcg,thread=multi,tb-size=1024",
		"-cpu", "max",
		"-smp", "2",
		"-m", "6144",
		"-no-user-config",
		"-nodefaults",
		"-display", "none",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/ovmf/code.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=/lab/a,,b/vars.fd",
		"-chardev", "file,id=console,append=on,path=/lab/a,,b/console.log",
		"-serial", "chardev:console",
		"-qmp", "unix:/run/cp1.qmp,server=on,wait=off",
		"-netdev", "tap,id=net0,ifname=tap1,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=net0,mac=52:54:00:6b:00:0b,romfile=,bootindex=1",
		"-drive", "if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap,file=/lab/a,,b/disk.raw",
		"-device", "virtio-blk-pci,drive=disk0,serial=lab-cp1,bootindex=2",
		"-object", "rng-random,id=rng0,filename=/dev/urandom",
		"-device", "virtio-rng-pci,rng=rng0",
	}
	if diff := cmp.Diff(want, hw.Args()); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}

	hw.Accelerator = lab.KVM
	want[5], want[7] = "kvm", "host"
	if diff := cmp.Diff(want, hw.Args()); diff != "" {
		t.Errorf("arguments with KVM (-want +got):\n%s", diff)
	}
}

func TestParseAccelerator(t *testing.T) {
	for _, tt := range []struct {
		text    string
		want    lab.Accelerator
		wantErr string
	}{
		{text: "", want: lab.TCG},
		{text: "tcg", want: lab.TCG},
		{text: "kvm", want: lab.KVM},
		{text: "KVM", wantErr: `accelerator "KVM" is neither tcg nor kvm`},
	} {
		got, err := lab.ParseAccelerator(tt.text)
		if got != tt.want || errorText(err) != tt.wantErr {
			t.Errorf("ParseAccelerator(%q) = %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.wantErr)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
