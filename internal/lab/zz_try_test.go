package lab_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/provision/netboot"
)

func TestTry(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	n := newNetwork(t)
	loader, _ := os.ReadFile(os.Getenv("LOADER"))
	mac, _ := net.ParseMAC(testMAC)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := netboot.Config{Server: netip.MustParseAddr("10.77.0.1"), Hosts: []netboot.Host{{Name: "a", MAC: mac, Address: netip.MustParsePrefix("10.77.0.99/24")}},
		ScriptURL: func(net.HardwareAddr) string { return "http://10.77.0.1:8080/s.ipxe" }, LoaderURL: "http://10.77.0.1:8080/ipxe.efi", TFTP: netip.MustParseAddr("10.77.0.1")}
	_, _, _, _ = cfg, loader, log, http.Serve
	if _, err := n.Start(ctx, lab.Program{Label: "srv", Path: os.Args[0], Args: []string{"-test.run=TestTrySrv", "-test.v"}, Log: "/tmp/lint/srv.log"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d, _ := os.ReadFile("/tmp/lint/efi/disk.img")
	os.WriteFile(filepath.Join(dir, "disk.raw"), d, 0o600)
	m, err := lab.NewQEMU(ctx, n, lab.QEMUOptions{Name: "a", MAC: testMAC, Dir: dir, MemoryMiB: 512})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = lab.NewConsole(m.Console()).WaitFor(ctx, regexp.MustCompile("BOOTED FROM DISK"))
	t.Log(time.Since(begin), err, "\n", lab.Tail(m.Console()))
}

func TestTrySrv(t *testing.T) {
	if os.Getenv("EXIT") == "" || func() bool { _, err := net.InterfaceByName("br0"); return err != nil }() {
		t.Skip()
	}
	ctx := context.Background()
	loader, _ := os.ReadFile(os.Getenv("LOADER"))
	mac, _ := net.ParseMAC(testMAC)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := netboot.Config{Server: netip.MustParseAddr("10.77.0.1"), Hosts: []netboot.Host{{Name: "a", MAC: mac, Address: netip.MustParsePrefix("10.77.0.99/24")}},
		ScriptURL: func(net.HardwareAddr) string { return "http://10.77.0.1:8080/s.ipxe" }, LoaderURL: os.Getenv("HTTPBOOT"), TFTP: netip.MustParseAddr("10.77.0.1")}
	c, err := netboot.ListenDHCP("br0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp4", "10.77.0.1:69")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "10.77.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	go netboot.DHCP(ctx, c, cfg, log)
	go netboot.TFTP(ctx, u, loader, log)
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Info("http", "path", r.URL.Path, "ua", r.UserAgent())
		if r.URL.Path == "/ipxe.efi" {
			w.Write(loader)
			return
		}
		fmt.Fprintf(w, "#!ipxe\necho hello\n%s\n", os.Getenv("EXIT"))
	}))
}
