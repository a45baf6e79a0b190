// Package api holds what the provisioning server and the agent on a machine
// say to each other: paths, documents and the seed. It has no behaviour, so
// that the agent can import it without the server.
//
// A machine that is being installed speaks to the server three times, each
// time with another bearer token, never with one in a URL:
//
//  1. The initramfs finds a [Seed] (the server's address, its authority and
//     an install token) and fetches an [InstallPlan] from [PathInstall]. One that
//     was started from a medium without a token asks [PathBoot] what to do, and
//     fetches its seed from [PathSeed].
//  2. Ignition, on the first boot from disk, fetches the node's config from
//     [PathConfig] with the token of the stub; it is delivered once.
//  3. The installed node reports to [PathReport] with the token of its config.
//
// A control plane that runs speaks to it again, months later: it renews its
// certificates of etcd at [PathRenew]. It shows one that it has, instead of a
// token.
package api

// Paths of the machine API, served over TLS only.
const (
	PathInstall = "/v1/install"
	PathConfig  = "/v1/config"
	PathReport  = "/v1/report"
	PathRenew   = "/v1/renew"
	// PathBoot and PathSeed are for an installer that was started from a medium:
	// what the machine shall do, and the token for it. Both take what the machine
	// says of itself in the query, by the keys below, and no token.
	PathBoot = "/v1/boot"
	PathSeed = "/v1/seed"
)

// Keys of the query by which a machine says what it is. KeyMAC is there once for
// each interface.
const (
	KeyMAC          = "mac"
	KeyUUID         = "uuid"
	KeySerial       = "serial"
	KeyManufacturer = "manufacturer"
	KeyProduct      = "product"
)

// Action is what a machine shall do now.
type Action string

// The actions.
const (
	// ActionInstall: fetch a seed, and install.
	ActionInstall Action = "install"
	// ActionLocal: there is nothing to install; start the disk.
	ActionLocal Action = "local"
	// ActionWait: ask again, until an operator has done something.
	ActionWait Action = "wait"
)

// BootAnswer says what a machine shall do.
type BootAnswer struct {
	// Node is empty for a machine that is in no document.
	Node   string `json:"node,omitempty"`
	Action Action `json:"action"`
	// Reason says why, and Remedy what an operator may do about it; both are for
	// people. ActionInstall has none.
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Disk is that of the node.
	Disk DiskSelection `json:"disk,omitzero"`
}

// SeedPath is where the initramfs finds the Seed of a network boot; the file
// has mode 0600. The server delivers it as a cpio archive that the boot
// loader appends to the initramfs.
const SeedPath = "/etc/k8snode/seed.json"

// ReportPath is where an installed node finds its ReportConfig.
const ReportPath = "/etc/k8snode/report.json"

// Seed lets a machine speak to the server before it has a disk.
type Seed struct {
	// Node is the name of the node that this machine becomes.
	Node string `json:"node"`
	// Server is the base URL, https.
	Server string `json:"server"`
	// CA is the PEM of the only authority to trust for Server.
	CA string `json:"ca"`
	// Token authorizes PathInstall and PathReport during the install.
	Token string `json:"token"`
}

// ReportConfig is a Seed for the installed node: it may only report.
type ReportConfig = Seed

// InstallPlan is what the agent does to the machine's disk.
type InstallPlan struct {
	Node  string        `json:"node"`
	Image InstallImage  `json:"image"`
	Disk  DiskSelection `json:"disk"`
	// Keep is a partition of an earlier install that stays as it is; nil keeps
	// nothing.
	Keep *KeepPartition `json:"keep,omitempty"`
	// Stub is the Ignition config that the agent leaves on the disk: it makes
	// Ignition fetch the node's own config, once.
	Stub []byte `json:"stub"`
}

// InstallImage locates an image. Its bytes are public and served over plain
// HTTP; the digest of the block map, delivered over TLS, protects them, and a
// signature says whose they are.
type InstallImage struct {
	ID             string `json:"id"`
	DiskURL        string `json:"diskURL"`
	BlockMapURL    string `json:"blockMapURL"`
	BlockMapSHA256 string `json:"blockMapSHA256"`
	// ManifestURL is of the image's manifest, SignatureURL of the signature of
	// that, empty when nobody signed it.
	ManifestURL  string `json:"manifestURL,omitempty"`
	SignatureURL string `json:"signatureURL,omitempty"`
	// Keys are public keys of minisign, in one line each, of which one must have
	// signed the manifest. Without any, the server does not ask for it.
	Keys []string `json:"keys,omitempty"`
}

// KeepPartition is the one partition with a label, if it has the size that the
// node's config expects. Around it the installer also makes those that Ignition makes
// otherwise: where there is room for them, nobody else knows.
type KeepPartition struct {
	Label   string         `json:"label"`
	SizeMiB int64          `json:"sizeMiB"`
	Others  []NewPartition `json:"others"`
}

// NewPartition is an empty partition.
type NewPartition struct {
	Number int    `json:"number"`
	Label  string `json:"label"`
	// SizeMiB is 0 for one of them: all that is left, in one piece.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
}

// DiskSelection must match exactly one disk of the machine. Empty fields
// match every disk; a disk that is removable or read-only never matches.
type DiskSelection struct {
	// Device is a path, best one below /dev/disk/by-id.
	Device string `json:"device,omitempty" yaml:"device"`
	// Serial is compared with the kernel's.
	Serial string `json:"serial,omitempty" yaml:"serial"`
	// WWN is compared with the kernel's.
	WWN string `json:"wwn,omitempty" yaml:"wwn"`
	// Model is compared with the kernel's: lsblk --output NAME,MODEL.
	Model string `json:"model,omitempty" yaml:"model"`
	// Rotational is true for disks that turn, false for those that do not.
	Rotational *bool `json:"rotational,omitempty" yaml:"rotational"`
	// MinSizeGiB is the least size.
	MinSizeGiB int `json:"minSizeGiB,omitempty" yaml:"minSizeGiB"`
	// MaxSizeGiB is the largest.
	MaxSizeGiB int `json:"maxSizeGiB,omitempty" yaml:"maxSizeGiB"`
}

// Phase is a step of a machine's way to a node. A machine only moves forward.
type Phase string

// The phases, in order.
const (
	// Registered: it is in the inventory, no window is open, nothing is delivered.
	PhaseRegistered Phase = "registered"
	// Armed: an operator opened an install window.
	PhaseArmed Phase = "armed"
	// Installing: the agent fetched its plan.
	PhaseInstalling Phase = "installing"
	// Installed: the image is on the disk and was read back.
	PhaseInstalled Phase = "installed"
	// Configuring: Ignition fetched the node's config.
	PhaseConfiguring Phase = "configuring"
	// Bootstrapping: the installed system runs and has begun its bootstrap.
	PhaseBootstrapping Phase = "bootstrapping"
	// Ready: kubeadm init or join is done.
	PhaseReady Phase = "ready"
	// Failed: the machine reported an error; Report.Message says which.
	PhaseFailed Phase = "failed"
)

// Phases are all of them, in the order of the way.
func Phases() []Phase {
	return []Phase{
		PhaseRegistered, PhaseArmed, PhaseInstalling, PhaseInstalled, PhaseConfiguring, PhaseBootstrapping, PhaseReady, PhaseFailed,
	}
}

// Report is what a machine says of itself.
type Report struct {
	Phase Phase `json:"phase"`
	// Step is a finer name within the phase: write, verify, import, init, join.
	Step string `json:"step,omitempty"`
	// Done and Total are bytes of the step, when it has any.
	Done  int64 `json:"done,omitempty"`
	Total int64 `json:"total,omitempty"`
	// Message is for the operator; it never holds a secret.
	Message string `json:"message,omitempty"`
}

// RenewRequest asks for certificates of etcd, for keys that the node has.
type RenewRequest struct {
	// Requests are PKCS #10, PEM, by the name of the certificate: that of its file
	// without the extension. Of a request only the key counts; what the
	// certificate says, the cluster document says.
	Requests map[string]string `json:"requests"`
}

// RenewAnswer has a certificate for each request, PEM.
type RenewAnswer struct {
	Certificates map[string]string `json:"certificates"`
}
