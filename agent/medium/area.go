package medium

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/embedarea"
)

// Where things are.
const (
	mountDir    = "/run/k8snode/medium"
	networkUp   = "/usr/libexec/k8snode/network"
	networkFile = "/run/systemd/network/10-k8snode-medium.network"
)

// remake is the remedy for a medium that says nothing.
const remake = "make the ISO again with \"k8snode iso\", and write it to the medium whole"

// readArea reads the embed area of the medium, once it appears.
func (o Options) readArea(ctx context.Context) (embedarea.Document, error) {
	device := o.path("/dev/disk/by-label/" + o.Label)
	for waited := time.Duration(0); ; waited += devicePoll {
		if _, err := os.Stat(device); err == nil {
			break
		}
		if waited >= o.Wait || ctx.Err() != nil {
			return embedarea.Document{}, fmt.Errorf("no medium labelled %s appeared within %v: is it still attached?", o.Label, o.Wait)
		}
		retry.Sleep(ctx, devicePoll)
	}
	dir := o.path(mountDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return embedarea.Document{}, err
	}
	if err := o.Runner.Run(ctx, nil, "mount", "-t", "iso9660", "-o", "ro", device, dir); err != nil {
		return embedarea.Document{}, fmt.Errorf("mounting the medium %s: %w", o.Label, err)
	}
	area, err := os.ReadFile(filepath.Join(dir, images.InstallerArea))
	if err := errors.Join(err, o.Runner.Run(context.WithoutCancel(ctx), nil, "umount", dir)); err != nil {
		return embedarea.Document{}, fmt.Errorf("reading the medium %s: %w", o.Label, err)
	}
	if len(area) != images.InstallerAreaSize {
		return embedarea.Document{}, fmt.Errorf("reading the medium %s: %w: it has %d bytes, not %d: %s",
			o.Label, embedarea.ErrCorrupt, len(area), images.InstallerAreaSize, remake)
	}
	doc, err := embedarea.Decode(area)
	switch {
	case errors.Is(err, embedarea.ErrEmpty):
		return doc, fmt.Errorf("reading the medium %s: %w: nobody has told it where its server is: %s", o.Label, err, remake)
	case err != nil:
		return doc, fmt.Errorf("reading the medium %s: %w: %s", o.Label, err, remake)
	}
	return doc, nil
}

// network brings up the network, by DHCP or as the area says.
func (o Options) network(ctx context.Context, n *embedarea.Network) error {
	how := "does a cable have a link, and does a DHCP server answer?"
	if n != nil {
		how = fmt.Sprintf("does the interface %s have a link?", n.MAC)
		path := o.path(networkFile)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(networkConfig(*n)), 0o644); err != nil {
			return err
		}
	}
	if err := o.Runner.Run(ctx, o.Console, networkUp); err != nil {
		return fmt.Errorf("bringing up the network (%s): %w", how, err)
	}
	return nil
}

// networkConfig is a file of systemd.network(5), which comes before the one that
// asks for addresses.
func networkConfig(n embedarea.Network) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Match]\nMACAddress=%s\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nAddress=%s\n", n.MAC, n.Address)
	if n.Gateway.IsValid() {
		fmt.Fprintf(&b, "Gateway=%s\n", n.Gateway)
	}
	for _, dns := range n.DNS {
		fmt.Fprintf(&b, "DNS=%s\n", dns)
	}
	return b.String()
}
