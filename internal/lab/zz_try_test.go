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
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	n := newNetwork(t)
	loader, _ := os.ReadFile(os.Getenv("LOADER"))
	mac, _ := net.ParseMAC(testMAC)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := netboot.Config{Server: netip.MustParseAddr("10.77.0.1"), Hosts: []netboot.Host{{Name: "a", MAC: mac, Address: netip.MustParsePrefix("10.77.0.99/24")}},
		ScriptURL: func(net.HardwareAddr) string { return "http://10.77.0.1:8080/s.ipxe" }, LoaderURL: "http://10.77.0.1:8080/ipxe.efi", TFTP: netip.MustParseAddr("10.77.0.1")}
	err := n.Do(func() error {
		c, err := netboot.ListenDHCP("br0")
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp4", "10.77.0.1:69")
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp4", "10.77.0.1:8080")
		if err != nil {
			return err
		}
		go netboot.DHCP(ctx, c, cfg, log)
		go netboot.TFTP(ctx, u, loader, log)
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			log.Info("http", "path", r.URL.Path, "ua", r.UserAgent())
			if r.URL.Path == "/ipxe.efi" {
				w.Write(loader)
				return
			}
			fmt.Fprintf(w, "#!ipxe\necho hello\n%s\n", os.Getenv("EXIT"))
		}))
		return nil
	})
	if err != nil {
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
