package wholepath

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
	"github.com/k8snode/k8snode/provision/api"
)

// An attacker is a stranger on the machine network who asks for secrets.
type attacker struct {
	network *lab.Network
	spec    cluster.Provision
}

// seed asks for a machine's install token from an address, as the boot loader
// does; the zero address is the attacker's own.
func (a attacker) seed(ctx context.Context, from netip.Addr, n cluster.Node) (status int, err error) {
	url := fmt.Sprintf("http://%s:%d/seed/machine.cpio?mac=%s", a.spec.Address, a.spec.HTTPPort, strings.ReplaceAll(n.MAC, ":", "-"))
	return a.get(ctx, from, url)
}

// config asks for a node's config without a token.
func (a attacker) config(ctx context.Context) (status int, err error) {
	return a.get(ctx, netip.Addr{}, fmt.Sprintf("https://%s:%d%s", a.spec.Address, a.spec.TLSPort, api.PathConfig))
}

func (a attacker) get(ctx context.Context, from netip.Addr, url string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		// An attacker does not care whether it is the right server.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			var d net.Dialer
			if from.IsValid() {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
			}
			err = a.network.Do(func() error {
				conn, err = d.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return resp.StatusCode, nil
}

// impersonate takes the address of a machine that is off, calls f, and gives
// it back.
func (a attacker) impersonate(ctx context.Context, address netip.Addr, f func() error) error {
	change := func(ctx context.Context, verb string) error {
		cmd := a.network.Command(ctx, "ip", "address", verb, address.String()+"/32", "dev", a.network.Bridge())
		_, err := kube.Run(cmd, "ip address "+verb)
		return err
	}
	if err := change(ctx, "add"); err != nil {
		return err
	}
	err := f()
	if back := change(context.WithoutCancel(ctx), "delete"); err == nil {
		err = back
	}
	return err
}

// refused turns a status into an error unless it is one of those wanted.
func refused(what string, status int, wanted ...int) error {
	if slices.Contains(wanted, status) {
		return nil
	}
	return fmt.Errorf("%s was answered with status %d, want one of %v", what, status, wanted)
}
