package lab_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
)

const testMAC = "52:54:00:6b:00:63"

// needQEMU skips a test without an emulator or its firmware.
func needQEMU(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an emulated machine: not with -short")
	}
	needLab(t, qemu.FirmwareCode, qemu.FirmwareVars)
	for _, program := range []string{qemu.Program, qemu.ImageProgram} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: run scripts/host-packages.sh test", program)
		}
	}
}

// TestQEMUBootsFromTheNetwork starts a machine with an empty disk and waits
// for what its firmware says on the console, and for the DHCP request that
// arrives at the bridge; then it resets the machine and cuts its power.
func TestQEMUBootsFromTheNetwork(t *testing.T) {
	needQEMU(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n := newNetwork(t)
	dhcp := listenDHCP(t, n)
	m, err := lab.NewQEMU(ctx, n, lab.QEMUOptions{Name: "empty", MAC: testMAC, Dir: t.TempDir(), MemoryMiB: 512, DiskGiB: 1})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := m.Inspect(ctx); err != nil || status != (lab.Status{}) {
		t.Errorf("before the start: status %+v, error %v; want zeros", status, err)
	}
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := errorText(m.Start(ctx)), "starting machine empty: it is running"; got != want {
		t.Errorf("second start: got error %q, want %q", got, want)
	}

	console := lab.NewConsole(m.Console())
	start := regexp.MustCompile(`Start PXE over IPv4`)
	if _, err := console.WaitFor(ctx, start); err != nil {
		t.Fatal(err)
	}
	select {
	case request := <-dhcp:
		if want := (dhcpRequest{MAC: testMAC, Architecture: 7, Class: "PXEClient:Arch:00007:UNDI:003000"}); request != want {
			t.Errorf("got DHCP request %+v, want %+v", request, want)
		}
	case <-ctx.Done():
		t.Fatalf("no DHCP request arrived; console %s:\n%s", m.Console(), lab.Tail(m.Console()))
	}
	status, err := m.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !status.Running || status.State != "running" || status.PID == 0 || status.DiskBytes != 0 {
		t.Errorf("status %+v, want a running machine with an empty disk", status)
	}

	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := console.WaitFor(ctx, start); err != nil {
		t.Fatalf("after the reset: %v", err)
	}

	if err := m.PowerOff(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.Exited():
	default:
		t.Error("Exited is open after PowerOff")
	}
	if err := m.Wait(ctx); err != nil {
		t.Errorf("a power cut is no failure, got %v", err)
	}
	// The machine starts again, with the same tap, disk and firmware settings.
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := console.WaitFor(ctx, start); err != nil {
		t.Fatalf("after the power cut: %v", err)
	}
}

func TestQEMUThatCannotStart(t *testing.T) {
	needQEMU(t)
	n := newNetwork(t)
	dir := t.TempDir()
	m, err := lab.NewQEMU(t.Context(), n, lab.QEMUOptions{Name: "huge", MAC: testMAC, Dir: dir, CPUs: 100000})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = m.Wait(t.Context())
	want := regexp.MustCompile(`^machine huge ended: exit status 1; ` + regexp.QuoteMeta(filepath.Join(dir, "qemu.log")) + ` says:\n    qemu-system-x86_64: .*CPUs`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("got error %v, want a match of %s", err, want)
	}
}

func TestNewQEMURefuses(t *testing.T) {
	needQEMU(t)
	n := newNetwork(t)
	for _, tt := range []struct {
		opts lab.QEMUOptions
		want string
	}{
		{lab.QEMUOptions{Name: "a/b", MAC: testMAC}, `making machine "a/b": its name must consist of lower-case letters, digits and inner hyphens`},
		{lab.QEMUOptions{Name: "a", MAC: "1"}, `making machine "a": "1" is not the MAC address of an Ethernet interface`},
		{lab.QEMUOptions{Name: "a", Card: "wifi"}, `making machine "a": card "wifi" is none of bridge, alone and none`},
		{lab.QEMUOptions{Name: "a", Card: lab.NoCard, Image: "x", DiskGiB: -1}, `making machine "a": a disk that begins as an image has a size`},
		{lab.QEMUOptions{Name: "a", Card: lab.NoCard, Image: "/nowhere"}, `making machine "a": making the disk: stat /nowhere: no such file or directory`},
	} {
		tt.opts.Dir = t.TempDir()
		if _, err := lab.NewQEMU(t.Context(), n, tt.opts); errorText(err) != tt.want {
			t.Errorf("got error %v, want %q", err, tt.want)
		}
	}
}

// The disk of a machine that begins as an image is an overlay, made once.
func TestQEMUDiskFromAnImage(t *testing.T) {
	needQEMU(t)
	n := newNetwork(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "image.raw")
	if err := os.WriteFile(image, bytes.Repeat([]byte("k8snode "), 1<<17), 0o400); err != nil {
		t.Fatal(err)
	}
	opts := lab.QEMUOptions{Name: "over", Card: lab.NoCard, Dir: dir, Image: image, DiskGiB: 1}
	m, err := lab.NewQEMU(t.Context(), n, opts)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "disk.qcow2"); m.Disk() != want {
		t.Errorf("its disk is %s, want %s", m.Disk(), want)
	}
	out, err := exec.CommandContext(t.Context(), qemu.ImageProgram, "info", "--output=json", m.Disk()).Output()
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Size    int64  `json:"virtual-size"`
		Backing string `json:"full-backing-filename"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	if info.Size != 1<<30 || info.Backing != image {
		t.Errorf("the overlay is %+v, want 1 GiB over %s", info, image)
	}
	before, err := os.ReadFile(m.Disk())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.NewQEMU(t.Context(), n, opts); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(m.Disk()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the second machine in the folder made the disk anew (%v)", err)
	}

	large := filepath.Join(dir, "large.raw")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<30+1); err != nil {
		t.Fatal(err)
	}
	opts.Image = large
	want := `making machine "over": making the disk: ` + large + " has 1073741825 bytes, the disk 1073741824"
	if _, err := lab.NewQEMU(t.Context(), n, opts); errorText(err) != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

type dhcpRequest struct {
	MAC          string
	Architecture uint16
	Class        string
}

// listenDHCP receives DISCOVER messages on the bridge and answers none.
func listenDHCP(t *testing.T, n *lab.Network) <-chan dhcpRequest {
	t.Helper()
	var conn net.PacketConn
	err := n.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", ":67")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	requests := make(chan dhcpRequest, 64)
	go func() {
		buf := make([]byte, 1500)
		for {
			size, _, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("receiving DHCP: %v", err)
				return
			}
			request, err := parseDHCP(buf[:size])
			if err != nil {
				t.Errorf("parsing DHCP: %v", err)
				return
			}
			select {
			case requests <- request:
			default:
			}
		}
	}()
	return requests
}

// parseDHCP reads the client's address and options 60 and 93, RFC 2131 and
// RFC 4578.
func parseDHCP(b []byte) (dhcpRequest, error) {
	const header = 236
	if len(b) < header+4 || !bytes.Equal(b[header:header+4], []byte{99, 130, 83, 99}) {
		return dhcpRequest{}, fmt.Errorf("%d bytes without a magic cookie", len(b))
	}
	request := dhcpRequest{MAC: net.HardwareAddr(b[28:34]).String()}
	for options := b[header+4:]; len(options) > 1 && options[0] != 255; {
		if options[0] == 0 {
			options = options[1:]
			continue
		}
		code, size := options[0], int(options[1])
		if len(options) < 2+size {
			return dhcpRequest{}, fmt.Errorf("option %d is cut off", code)
		}
		value := options[2 : 2+size]
		switch {
		case code == 60:
			request.Class = string(value)
		case code == 93 && size == 2:
			request.Architecture = binary.BigEndian.Uint16(value)
		}
		options = options[2+size:]
	}
	return request, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
