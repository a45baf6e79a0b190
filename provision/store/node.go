package store

import (
	"net/netip"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// A Node is the state of one node. It is a plain value, so that a [Store] can
// write it as JSON; it holds digests of tokens, never a token.
type Node struct {
	Name string `json:"name"`
	// Phase is the last phase that the machine proved, or failed.
	Phase api.Phase `json:"phase"`
	// Reached is the furthest phase of this install. It differs from Phase
	// only when that is failed.
	Reached api.Phase `json:"reached"`
	Window  Window    `json:"window"`
	// Install, Config and Report are the current token of each purpose.
	Install  Credential `json:"install"`
	Config   Credential `json:"config"`
	Report   Credential `json:"report"`
	Delivery Delivery   `json:"delivery"`

	// Last is the last accepted report, LastReport when it came.
	Last       api.Report `json:"last"`
	LastReport time.Time  `json:"lastReport"`

	// Refused counts the refused requests for this node since it was added;
	// LastRefusal is the newest of them.
	Refused     int     `json:"refused"`
	LastRefusal Refusal `json:"lastRefusal"`
}

// Window is an install window.
type Window struct {
	// InstallID names the install; it is new with every Arm.
	InstallID string `json:"installID"`
	// Image is the ID of what is installed.
	Image string `json:"image"`
	// KeepEtcd leaves the data of etcd on the disk as it is.
	KeepEtcd bool `json:"keepEtcd,omitempty"`
	// Transaction is what the install is a part of, until Disarm.
	Transaction string `json:"transaction,omitempty"`
	// Machine names what began the install, by what identifies it, separated by
	// spaces: another one with the same name, address or UUID is refused.
	Machine string    `json:"machine,omitempty"`
	Opened  time.Time `json:"opened"`
	Until   time.Time `json:"until"`
	// Plans counts the plans that were fetched in the window, Forgiven those
	// before the node was released.
	Plans    int `json:"plans"`
	Forgiven int `json:"forgiven,omitempty"`
	// Held keeps the machine from installing: it did so again and again, or an
	// operator wants it. Why says which, for people.
	Held bool   `json:"held"`
	Why  string `json:"why,omitempty"`
}

// Credential is what is kept of a token.
type Credential struct {
	// SHA256 is of the token's text, in lower-case hexadecimal.
	SHA256    string    `json:"sha256"`
	InstallID string    `json:"installID"`
	Expires   time.Time `json:"expires"`
}

// Delivery is the one-time delivery of a node's config.
type Delivery struct {
	// Address is that of the one reader, Claimed when it first asked.
	Address netip.Addr `json:"address"`
	Claimed time.Time  `json:"claimed"`
	// SHA256 is of the config that was sent, Completed when it was first sent
	// to its last byte.
	SHA256    string    `json:"sha256"`
	Completed time.Time `json:"completed"`
	// Burned is set when the node has booted with its config.
	Burned bool `json:"burned"`
}

// Refusal is a request that was refused.
type Refusal struct {
	Time    time.Time  `json:"time"`
	Address netip.Addr `json:"address"`
	Reason  string     `json:"reason"`
}

// Open reports whether the node's install window is open.
func (n Node) Open(now time.Time) bool {
	return n.Window.InstallID != "" && now.Before(n.Window.Until)
}

// Installable reports whether a machine that asks for it now is installed,
// and if not, why.
func (n Node) Installable(now time.Time) (ok bool, reason string) {
	switch {
	case n.Window.InstallID == "":
		return false, "no install window is open"
	case !n.Open(now):
		return false, "the install window has ended"
	case n.Window.Held:
		return false, "held: " + n.Window.Why
	case !n.Delivery.Claimed.IsZero():
		return false, "the config of this install was fetched already"
	case rank(n.Reached) > rank(api.PhaseInstalling):
		return false, "the image is on the disk"
	}
	return true, ""
}

// PhaseAt is the phase to show: a window that ended before a machine came
// leaves the node closed.
func (n Node) PhaseAt(now time.Time) api.Phase {
	if n.Phase == api.PhaseArmed && !n.Open(now) {
		return api.PhaseRegistered
	}
	return n.Phase
}

// rank orders the phases of a way forward; failed and unknown phases have
// rank -1.
func rank(p api.Phase) int {
	switch p {
	case api.PhaseRegistered:
		return 0
	case api.PhaseArmed:
		return 1
	case api.PhaseInstalling:
		return 2
	case api.PhaseInstalled:
		return 3
	case api.PhaseConfiguring:
		return 4
	case api.PhaseBootstrapping:
		return 5
	case api.PhaseReady:
		return 6
	}
	return -1
}

// advance sets the phase that the machine proved.
func (n *Node) advance(p api.Phase) {
	n.Phase = p
	if rank(p) > rank(n.Reached) {
		n.Reached = p
	}
}
