package provision

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/netboot"
)

// stopTimeout is how long requests may take to end when the server stops.
const stopTimeout = 5 * time.Second

// sweepEvery is how often configs that nobody may fetch any more are
// forgotten.
const sweepEvery = time.Minute

// A Side is a handler with a listener of its own, beside those of [Options].
type Side struct {
	// Name is for the log and for errors, Listen is host:port.
	Name, Listen string
	Handler      http.Handler
	TLS          *tls.Config
}

// part is one listener: serve returns when ctx is done.
type part struct {
	name  string
	where string
	conn  io.Closer
	serve func(ctx context.Context) error
}

// Run opens every socket, and serves once all of them are open. It returns nil
// when ctx was done and everything has ended.
func (s *Server) Run(ctx context.Context, sides ...Side) error {
	parts, err := s.listen(ctx, sides)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		s.log.Info("serving", "part", p.name, "address", p.where)
		wg.Go(func() {
			// One part that ends takes the others along: half a server looks
			// alive and is not.
			defer cancel()
			if err := p.serve(ctx); err != nil {
				errs[i] = fmt.Errorf("serving %s: %w", p.name, err)
			}
		})
	}
	wg.Go(func() { s.sweep(ctx) })
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.store.Expire(ctx, s.opts.Now()); err != nil && ctx.Err() == nil {
				s.log.Warn("old configs not forgotten", "error", err)
			}
		}
	}
}

// listen opens the sockets of the parts that are switched on.
func (s *Server) listen(ctx context.Context, sides []Side) (parts []part, err error) {
	defer func() {
		if err != nil {
			for _, p := range parts {
				p.conn.Close()
			}
		}
	}()
	var lc net.ListenConfig
	if addr := s.opts.HTTPListen; addr != "" {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return parts, listening("boot loaders", err)
		}
		parts = append(parts, s.httpPart("http", l, s.bootServer()))
	}
	if addr := s.opts.TLSListen; addr != "" {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return parts, listening("machines", err)
		}
		parts = append(parts, s.httpPart("https", tls.NewListener(l, s.tlsConfig()), s.apiServer(s.observer.Machine(s.MachineHandler()))))
	}
	for _, side := range sides {
		l, err := lc.Listen(ctx, "tcp", side.Listen)
		if err != nil {
			return parts, listening(side.Name, err)
		}
		parts = append(parts, s.httpPart(side.Name, tls.NewListener(l, side.TLS), s.apiServer(side.Handler)))
	}
	if path := s.opts.AdminSocket; path != "" {
		l, err := admin.Listen(path)
		if err != nil {
			return parts, err
		}
		parts = append(parts, s.httpPart("admin", l, s.apiServer(s.AdminHandler())))
	}
	if addr := s.opts.TFTPListen; addr != "" {
		conn, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return parts, listening("TFTP", err)
		}
		parts = append(parts, part{"tftp", conn.LocalAddr().String(), conn, func(ctx context.Context) error {
			return netboot.TFTP(ctx, conn, s.loader, s.log)
		}})
	}
	if s.opts.DHCP.Interface != "" {
		dhcp, err := s.listenDHCP()
		parts = append(parts, dhcp...)
		if err != nil {
			return parts, listening("DHCP", err)
		}
	}
	if len(parts) == 0 {
		return nil, errors.New("starting the provisioning server: every part is off")
	}
	return parts, nil
}

// listenDHCP opens the sockets of DHCP: one, and of a proxy a second one for
// firmware that asks there. Those that it returns are open, with an error too.
func (s *Server) listenDHCP() (parts []part, err error) {
	iface, config := s.opts.DHCP.Interface, s.dhcpConfig()
	conn, err := netboot.ListenDHCP(iface)
	if err != nil {
		return nil, err
	}
	if s.opts.DHCP.Mode == FullDHCP {
		return []part{{"dhcp", iface, conn, func(ctx context.Context) error {
			return netboot.DHCP(ctx, conn, config, s.log)
		}}}, nil
	}
	parts = []part{{"dhcp proxy", iface, conn, func(ctx context.Context) error {
		return netboot.Proxy(ctx, conn, netboot.DHCPPort, config, s.log)
	}}}
	second, err := netboot.ListenProxy(iface)
	if err != nil {
		return parts, err
	}
	return append(parts, part{"dhcp proxy, port 4011", iface, second, func(ctx context.Context) error {
		return netboot.Proxy(ctx, second, netboot.ProxyPort, config, s.log)
	}}), nil
}

// listening says why a socket is not open, and what helps.
func listening(what string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listening for %s: %w; another program has the port: ss -lnptu shows which", what, err)
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
		return fmt.Errorf(`listening for %s: %w; run it as root, or once: setcap cap_net_bind_service,cap_net_raw+ep "$(command -v k8snode)"`, what, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listening for %s: %w; the address is none of this machine's", what, err)
	}
	return fmt.Errorf("listening for %s: %w", what, err)
}

func (s *Server) httpPart(name string, l net.Listener, srv *http.Server) part {
	return part{name, l.Addr().String(), l, func(ctx context.Context) error {
		stopped := make(chan struct{})
		release := context.AfterFunc(ctx, func() {
			defer close(stopped)
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			if srv.Shutdown(grace) != nil {
				_ = srv.Close() // cuts what did not end in time
			}
		})
		err := srv.Serve(l)
		if !release() {
			<-stopped
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}}
}

// bootServer has no write timeout: an image on a slow network takes its time.
func (s *Server) bootServer() *http.Server {
	srv := s.apiServer(s.observer.Boot(s.BootHandler()))
	srv.WriteTimeout = 0
	return srv
}

func (s *Server) apiServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// tlsConfig allows TLS 1.3 alone: every client is ours or Ignition. Firmware
// and boot loaders, which know less, use plain HTTP.
func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{s.opts.Certificate},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		Time:         s.opts.Now,
	}
	if s.opts.Renew != nil {
		// Whoever shows a certificate shows a good one; most show none.
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, s.renewRoots()
	}
	return config
}

func (s *Server) dhcpConfig() netboot.Config {
	c := netboot.Config{
		Server:    s.opts.DHCP.Server,
		Router:    s.opts.DHCP.Router,
		DNS:       s.opts.DHCP.DNS,
		Lease:     s.opts.DHCP.Lease,
		ScriptURL: s.opts.HTTPURL + findPath,
	}
	c.LoaderURL = s.opts.HTTPURL + loaderPath
	if s.opts.TFTPListen != "" {
		c.TFTP = s.opts.DHCP.Server
	}
	for _, m := range s.inventory.Machines() {
		for i, mac := range m.Interfaces() {
			// The address is one interface's; a boot file is for whichever asks.
			if i == 0 || s.opts.DHCP.Mode == ProxyDHCP {
				c.Hosts = append(c.Hosts, netboot.Host{Name: m.Name, MAC: mac, Address: m.Address})
			}
		}
	}
	c.Strangers = s.opts.DHCP.Unknown
	return c
}
