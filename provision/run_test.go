package provision_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/library"
)

// freePort returns a loopback address that nobody uses now.
func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fakeMachine goes the way of a real one: it knows its MAC and where the boot
// script is, and learns everything else on the way.
type fakeMachine struct {
	t     *testing.T
	plain http.Client
	tls   http.Client
	seen  strings.Builder // what travelled in the clear, or in a URL
}

func (m *fakeMachine) get(client *http.Client, url, token string) []byte {
	m.t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	fmt.Fprintln(&m.seen, url)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		m.t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		m.t.Fatalf("GET %s: %d %s %v", url, resp.StatusCode, b, err)
	}
	return b
}

func (m *fakeMachine) report(server, token string, r api.Report) {
	m.t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		m.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", server+api.PathReport, strings.NewReader(string(b)))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := m.tls.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatalf("report %s: %d", r.Phase, resp.StatusCode)
	}
}

// expand is what a boot loader with one interface makes of a line.
func expand(line string) string {
	line = strings.ReplaceAll(line, "${net0/mac:hexhyp}", macA)
	return regexp.MustCompile(`\$\{[^}]*}`).ReplaceAllString(line, "")
}

func TestEndToEnd(t *testing.T) {
	opts := options(t)
	httpAddr, tlsAddr, tftpAddr := freePort(t, "tcp"), freePort(t, "tcp"), freePort(t, "udp")
	opts.HTTPListen, opts.HTTPURL = httpAddr, "http://"+httpAddr
	opts.TLSListen, opts.TLSURL = tlsAddr, "https://"+tlsAddr
	opts.TFTPListen = tftpAddr
	opts.AdminSocket = filepath.Join(t.TempDir(), "run", "admin.sock")
	var log, trail lockedBuffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts.Audit = audit.New(&trail, opts.Now, audit.Tail{})
	opts.Config = func(_ context.Context, r provision.ConfigRequest) ([]byte, error) {
		node, token := r.Node, r.ReportToken
		return fmt.Appendf(nil, `{"ignition":{"version":"3.4.0"},"node":%q,"token":%q}`, node, token), nil
	}

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, opts) }()
	operator := admin.NewClient(opts.AdminSocket)
	waitFor(t, func() error { _, err := operator.Nodes(ctx); return err })

	m := &fakeMachine{t: t}
	script := string(m.get(&m.plain, opts.HTTPURL+scriptURL, ""))
	if !strings.Contains(script, "booting the local disk") {
		t.Fatalf("script before the window:\n%s", script)
	}
	if _, err := operator.Arm(ctx, "a", admin.ArmOptions{For: 45 * time.Minute}); err != nil {
		t.Fatal(err)
	}

	// The boot loader.
	client, err := tftp.NewClient(tftpAddr)
	if err != nil {
		t.Fatal(err)
	}
	wt, err := client.Receive("ipxe.efi", "octet")
	if err != nil {
		t.Fatal(err)
	}
	var loader strings.Builder
	if _, err := wt.WriteTo(&loader); err != nil || loader.String() != "content of "+images.IPXEFile {
		t.Fatalf("loader %q, %v", loader.String(), err)
	}
	script = string(m.get(&m.plain, opts.HTTPURL+scriptURL, ""))
	fmt.Fprintln(&m.seen, script)
	var seed api.Seed
	for _, f := range regexp.MustCompile(`(?m)^(?:kernel|initrd) --name (\S+) (\S+)`).FindAllStringSubmatch(script, -1) {
		switch body := m.get(&m.plain, expand(f[2]), ""); f[1] {
		case "vmlinuz", "initrd.img":
			if string(body) != "content of pxe/"+f[1] {
				t.Errorf("%s: %q", f[1], body)
			}
		case "seed.cpio":
			seed = openSeed(t, string(body))
		}
	}

	// The agent in the initramfs: it trusts the seed's authority alone.
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(seed.CA)) {
		t.Fatal("the seed has no authority")
	}
	m.tls.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	var plan api.InstallPlan
	if err := json.Unmarshal(m.get(&m.tls, seed.Server+api.PathInstall, seed.Token), &plan); err != nil {
		t.Fatal(err)
	}
	if got := string(m.get(&m.plain, plan.Image.DiskURL, "")); got != "content of "+images.DiskFile {
		t.Errorf("disk %q", got)
	}
	m.report(seed.Server, seed.Token, api.Report{Phase: api.PhaseInstalling, Step: "write", Done: 1, Total: 2})
	m.report(seed.Server, seed.Token, api.Report{Phase: api.PhaseInstalled})
	if script := string(m.get(&m.plain, opts.HTTPURL+scriptURL, "")); !strings.Contains(script, "the image is on the disk") {
		t.Errorf("script after the install, from a firmware that prefers the network:\n%s", script)
	}

	// Ignition, then the installed node.
	var s stub
	if err := json.Unmarshal(plan.Stub, &s); err != nil {
		t.Fatal(err)
	}
	report := reportToken(t, string(m.get(&m.tls, s.URL, s.Token)))
	m.report(seed.Server, report, api.Report{Phase: api.PhaseBootstrapping})
	m.report(seed.Server, report, api.Report{Phase: api.PhaseReady})
	nodes, err := operator.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := nodes[0]; n.Phase != api.PhaseReady || n.Open || n.Refused != 0 {
		t.Errorf("node %+v, want ready, closed, nothing refused", n)
	}

	// Without the authority, and in plain text, there is no machine API.
	if _, err := http.Get(opts.TLSURL + api.PathConfig); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without the authority: %v", err)
	}
	if resp, err := http.Get(opts.HTTPURL + api.PathConfig); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("machine API in plain text: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}

	m.tls.CloseIdleConnections()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not end")
	}
	if _, err := admin.NewClient(opts.AdminSocket).Nodes(context.Background()); err == nil {
		t.Error("the admin socket outlives the server")
	}

	for _, part := range []string{"http", "https", "admin", "tftp"} {
		if n := strings.Count(log.String(), "msg=serving part="+part+" "); n != 1 {
			t.Errorf("part %s was announced %d times", part, n)
		}
	}
	for name, text := range map[string]string{"clear text": m.seen.String(), "log": log.String(), "audit": trail.String()} {
		for _, token := range []string{seed.Token, s.Token, report} {
			_, secret, _ := strings.Cut(token, ".")
			if secret == "" || strings.Contains(text, secret) {
				t.Errorf("%s holds the token %q", name, token)
			}
		}
	}
	if tail, err := audit.Verify(strings.NewReader(trail.String())); err != nil || tail.Seq == 0 {
		t.Errorf("audit: %+v, %v", tail, err)
	}
}

func waitFor(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 200 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal(err)
}

func TestRunRefusesAndLeavesNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opts := options(t)
	opts.HTTPListen = freePort(t, "tcp")
	opts.TLSListen = taken.Addr().String()
	if err := run(context.Background(), opts); err == nil || !strings.HasPrefix(err.Error(), "listening for machines: ") ||
		!strings.HasSuffix(err.Error(), "another program has the port: ss -lnptu shows which") {
		t.Errorf("port in use: %v", err)
	}
	l, err := net.Listen("tcp4", opts.HTTPListen)
	if err != nil {
		t.Fatalf("the first port was left open: %v", err)
	}
	l.Close()

	opts = options(t)
	opts.TLSListen = "192.0.2.1:8443"
	if err := run(context.Background(), opts); err == nil || !strings.HasSuffix(err.Error(), "the address is none of this machine's") {
		t.Errorf("another machine's address: %v", err)
	}
	opts = options(t)
	opts.DHCP = provision.DHCP{Interface: "none0", Server: netip.MustParseAddr("127.0.0.1"), Mode: provision.ProxyDHCP}
	if err := run(context.Background(), opts); err == nil || !strings.HasPrefix(err.Error(), "listening for DHCP: interface none0, port 67: ") {
		t.Errorf("no such interface: %v", err)
	}

	opts = options(t)
	if err := run(context.Background(), opts); err == nil || err.Error() != "starting the provisioning server: every part is off" {
		t.Errorf("nothing to serve: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	const prefix = "checking the options of the provisioning server: "
	for _, tt := range []struct {
		name   string
		change func(*provision.Options)
		want   string
	}{
		{"no clock", func(o *provision.Options) { o.Now = nil }, "a clock and a source of randomness are required"},
		{"no config", func(o *provision.Options) { o.Config = nil }, "the functions Config and Stub are required"},
		{"path in the URL", func(o *provision.Options) { o.HTTPURL = "http://192.0.2.1/" }, `HTTPURL "http://192.0.2.1/": not of the form http://host:port`},
		{"machine API in plain text", func(o *provision.Options) { o.TLSURL = "http://192.0.2.1:8443" }, `TLSURL "http://192.0.2.1:8443": not of the form https://host:port`},
		{"password in the URL", func(o *provision.Options) { o.TLSURL = "https://a:b@192.0.2.1" }, `TLSURL "https://a:b@192.0.2.1": not of the form https://host:port`},
		{"no authority", func(o *provision.Options) { o.CA = nil }, "CA: not the PEM of one certificate"},
		{"no certificate", func(o *provision.Options) { o.TLSListen, o.Certificate = ":8443", tls.Certificate{} }, "a certificate is required"},
		{"DHCP without an address", func(o *provision.Options) { o.DHCP.Interface = "eth0" }, "DHCP: the server's IPv4 address is required"},
		{"argument with a line", func(o *provision.Options) { o.KernelArguments = []string{"a\nreboot"} }, `kernel argument "a\nreboot": not allowed in a boot script`},
		{"argument with a variable", func(o *provision.Options) { o.KernelArguments = []string{"a=${x}"} }, `kernel argument "a=${x}": not allowed in a boot script`},
		{"no images", func(o *provision.Options) { o.Images = nil }, "a library of images is required"},
		{"an image of another cluster", func(o *provision.Options) {
			o.Fits = func(m images.Manifest) error { return errors.New("image " + m.ID + " does not fit") }
		}, "image 0123abcd does not fit"},
		{"name", func(o *provision.Options) { o.Inventory[0].Name = "A b" }, `machine "A b": the name is not an RFC 1123 label`},
		{"MAC", func(o *provision.Options) { o.Inventory[0].MAC = "52:54" }, `machine "a": "52:54" is not a MAC address`},
		{"IPv6", func(o *provision.Options) { o.Inventory[0].Address = netip.MustParsePrefix("2001:db8::1/64") }, `machine "a": 2001:db8::1/64 is not an IPv4 address with a prefix length`},
		{"one MAC twice", func(o *provision.Options) { o.Inventory[1].MAC = "52-54-00-00-00-01" }, `machine "b": MAC 52:54:00:00:00:01 is that of "a"`},
		{"one address twice", func(o *provision.Options) { o.Inventory[1].Address = o.Inventory[0].Address }, `machine "b": address 127.0.0.1 is that of "a"`},
		{"one name twice", func(o *provision.Options) { o.Inventory[1].Name = "a" }, `machine "a": name a is that of "a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := options(t)
			tt.change(&opts)
			_, err := provision.New(context.Background(), opts)
			if err == nil || err.Error() != prefix+tt.want {
				t.Errorf("error %v, want %s%s", err, prefix, tt.want)
			}
		})
	}
	opts := options(t)
	opts.TFTPListen, opts.Images = ":69", imageWithout(t, images.IPXEFile)
	if _, err := provision.New(context.Background(), opts); err == nil || err.Error() != prefix+"TFTP: the image has no pxe/ipxe.efi" {
		t.Errorf("no loader: %v", err)
	}
}

// imageWithout is an image that lacks a file.
func imageWithout(t *testing.T, path string) *library.Library {
	t.Helper()
	dir, m := imageFolder(t)
	m.Artifacts = slices.DeleteFunc(m.Artifacts, func(a images.Artifact) bool { return a.Path == path })
	writeManifest(t, dir, m)
	return single(t, dir)
}
