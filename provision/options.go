package provision

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/throttle"
)

// SourcePolicy says from where a machine may speak.
type SourcePolicy int

const (
	// DeclaredSource accepts a request for a node's secrets only from the
	// address that the inventory gives the node. It is the default.
	DeclaredSource SourcePolicy = iota
	// AnySource accepts it from everywhere, for machines whose address is
	// translated on the way. The reader of a config is still one address.
	AnySource
)

// DHCPMode says what of DHCP is the server's.
type DHCPMode int

const (
	// FullDHCP gives the machines of the inventory their addresses, and tells
	// them what to load. It is the default.
	FullDHCP DHCPMode = iota
	// ProxyDHCP tells machines what to load, beside the DHCP server that gives
	// the addresses.
	ProxyDHCP
)

// DHCP switches DHCP on. The zero value leaves it off.
type DHCP struct {
	// Interface is the name of the one interface to serve; empty for none.
	Interface string
	Mode      DHCPMode
	// Unknown makes a proxy boot machines that are not in the inventory too:
	// their script waits, and shows them to the operator.
	Unknown bool
	// Server is the server's own IPv4 address on it.
	Server netip.Addr
	// Router and DNS may be left out.
	Router netip.Addr
	DNS    []netip.Addr
	// Lease is one hour by default.
	Lease time.Duration
}

// Limits bound an install. Zero values are the defaults of
// [store.GateOptions].
type Limits struct {
	MaxPlans     int
	ReplayWindow time.Duration
	MaxWindow    time.Duration
	ReportLife   time.Duration
	// Failures bounds how often an address may be refused: after 60 times it is
	// told to come back later, and once more each second. What is refused is
	// recorded, so that nobody fills the audit.
	Failures throttle.Limit
}

// Options say what to serve, and where. Each part is off while its listen
// field is empty.
type Options struct {
	Inventory []inventory.Machine
	// InventoryName is the file that a machine must be added to; the script of
	// an unknown machine names it. Empty: "the cluster document".
	InventoryName string

	// Images holds what is installed: of an image only the artifacts in its
	// manifest are served. A node is armed with the image that is current
	// then, and keeps it.
	Images *library.Library
	// Fits says why an image is not one for this inventory; nil accepts every
	// one.
	Fits func(images.Manifest) error
	// KernelArguments of the installer; nil: see [images.InstallerArguments].
	// They are public.
	KernelArguments []string

	// HTTPURL and TLSURL are the base URLs by which machines reach the boot
	// and the machine handler: scheme, host and port, without a path.
	HTTPURL string
	TLSURL  string

	// HTTPListen, TLSListen and TFTPListen are host:port, AdminSocket is a
	// path.
	HTTPListen  string
	TLSListen   string
	TFTPListen  string
	AdminSocket string
	DHCP        DHCP

	// Certificate is that of TLSURL; CA is the PEM of the authority that
	// signed it, which machines trust alone.
	Certificate tls.Certificate
	CA          []byte

	// Config renders the Ignition config of a node. It is called once per
	// delivery, so that it may mint what expires.
	Config func(ctx context.Context, r ConfigRequest) ([]byte, error)
	// Stub makes the Ignition config that fetches url with the bearer token.
	Stub func(url, token string) ([]byte, error)

	// Renew answers a node that renews its certificates; nil answers nobody. The
	// node shows one that RenewCA signed, PEM.
	Renew   func(ctx context.Context, node string, r api.RenewRequest) (api.RenewAnswer, error)
	RenewCA []byte

	// Store keeps the nodes; nil keeps them in memory.
	Store   store.Store
	Limits  Limits
	Sources SourcePolicy

	// Now and Rand are required: the clock, and a source of secret bytes.
	Now  func() time.Time
	Rand io.Reader
	// Logger is never given a secret; nil discards.
	Logger *slog.Logger
	// Audit records every grant and refusal; nil records nothing.
	Audit *audit.Log
}

// A ConfigRequest asks for the config of a node.
type ConfigRequest struct {
	Node string
	// ReportToken is the token of an [api.ReportConfig], which the config
	// holds.
	ReportToken string
	// Image is what the node was installed with.
	Image images.Manifest
	// KeepEtcd says that the data of etcd is still on its disk.
	KeepEtcd bool
}
