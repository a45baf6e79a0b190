package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/store"
)

// Prefix begins the paths of the API where it is not alone: on the operators'
// site, not on a socket.
const Prefix = "/api/v1"

// maxBody bounds a request's body.
const maxBody = 4 << 10

// A Node is what an operator sees of a node.
type Node struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	Address string `json:"address"`
	Role    string `json:"role"`

	Phase api.Phase `json:"phase"`
	Step  string    `json:"step,omitempty"`
	// Done and Total are bytes of the step.
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Message string `json:"message,omitempty"`
	// LastReport is when the machine spoke last.
	LastReport time.Time `json:"lastReport,omitzero"`

	// Armed and WindowEnd are the beginning and the end of the newest install
	// window, past or to come.
	Armed     time.Time `json:"armed,omitzero"`
	WindowEnd time.Time `json:"windowEnd,omitzero"`
	// Image is what is installed in it, or was.
	Image string `json:"image,omitempty"`
	// KeepEtcd says that the data of etcd stays, Transaction what the install is a
	// part of.
	KeepEtcd    bool   `json:"keepEtcd,omitempty"`
	Transaction string `json:"transaction,omitempty"`
	// Open says that the window is open, Held that nothing is installed in it
	// all the same, and HeldFor why.
	Open    bool   `json:"open"`
	Held    bool   `json:"held,omitempty"`
	HeldFor string `json:"heldFor,omitempty"`

	// Refused counts refused requests for the node; LastRefusal is the newest.
	Refused     int      `json:"refused"`
	LastRefusal *Refusal `json:"lastRefusal,omitempty"`
}

// Refusal is a refused request.
type Refusal struct {
	Time    time.Time `json:"time"`
	Address string    `json:"address"`
	Reason  string    `json:"reason"`
}

// A Stranger is a machine that asked for its boot script, and is none of the
// cluster document, or contradicts it.
type Stranger struct {
	MACs         []string  `json:"macs"`
	UUID         string    `json:"uuid,omitempty"`
	Serial       string    `json:"serial,omitempty"`
	Manufacturer string    `json:"manufacturer,omitempty"`
	Product      string    `json:"product,omitempty"`
	Address      string    `json:"address"`
	Reason       string    `json:"reason"`
	First        time.Time `json:"first"`
	Last         time.Time `json:"last"`
	// Count is how often it asked.
	Count int `json:"count"`
}

// A Backend is what the API is an interface of. Errors for a name that is
// unknown wrap [store.ErrUnknownNode], those for an impossible window wrap
// [store.ErrWindow].
type Backend interface {
	Nodes(ctx context.Context) ([]Node, error)
	// Strangers returns the newest machines that are none of the nodes.
	Strangers(ctx context.Context) ([]Stranger, error)
	Arm(ctx context.Context, node string, opts ArmOptions) (Node, error)
	Disarm(ctx context.Context, node string) (Node, error)
	// Hold keeps a node from installing in the window that is open, Release lets
	// it.
	Hold(ctx context.Context, node, why string) (Node, error)
	Release(ctx context.Context, node string) (Node, error)
	// Seed mints the install token for a medium. It wraps [store.ErrClosed] when
	// nothing is to be installed on the node now.
	Seed(ctx context.Context, node string) (InstallSeed, error)
}

// An InstallSeed is what a medium needs to install one node without asking what it
// is for. Token is a secret until Until, the end of the node's window.
type InstallSeed struct {
	Node   string    `json:"node"`
	Server string    `json:"server"`
	CA     string    `json:"ca"`
	Token  string    `json:"token"`
	Until  time.Time `json:"until"`
	// MACs are the interfaces of the node's machine, the one that it boots from
	// first.
	MACs []string `json:"macs"`
}

// ArmOptions say what an install window is opened for.
type ArmOptions struct {
	// For is how long it stays open.
	For time.Duration
	// Image is the ID of what is installed; "" is the active image.
	Image string
	// KeepEtcd leaves the data of etcd on the disk as it is.
	KeepEtcd bool
	// Transaction is a word for what the install is a part of: who began it finds it
	// again by that.
	Transaction string
	// Check only asks whether the window could be opened.
	Check bool
}

type armRequest struct {
	For         string `json:"for"`
	Image       string `json:"image,omitempty"`
	KeepEtcd    bool   `json:"keepEtcd,omitempty"`
	Transaction string `json:"transaction,omitempty"`
	Check       bool   `json:"check,omitempty"`
}

type holdRequest struct {
	Why string `json:"why"`
}

// maxWhy bounds what is said of a held node.
const maxWhy = 200

type errorBody struct {
	Error string `json:"error"`
	// Code names the sentinel that the error wraps.
	Code string `json:"code,omitempty"`
}

// Stand-ins for a [library.OffsetError] and a [library.ContentError], which are
// more than sentinels.
var (
	errOffset  = errors.New("the bytes are for another place")
	errContent = errors.New("the bytes are not those of the manifest")
)

// sentinels are the errors that keep their meaning on the way to the client.
func sentinels() []sentinel {
	return []sentinel{
		{"unknown-node", http.StatusNotFound, store.ErrUnknownNode},
		{"impossible-window", http.StatusBadRequest, store.ErrWindow},
		{"closed", http.StatusConflict, store.ErrClosed},
		{"unknown-image", http.StatusNotFound, library.ErrUnknown},
		{"no-active-image", http.StatusConflict, library.ErrNoCurrent},
		{"active-image", http.StatusConflict, library.ErrCurrent},
		{"untrusted-image", http.StatusUnprocessableEntity, library.ErrUntrusted},
		{"one-image", http.StatusConflict, library.ErrSingle},
		{"offset", http.StatusConflict, errOffset},
		{"content", http.StatusUnprocessableEntity, errContent},
	}
}

type sentinel struct {
	code   string
	status int
	err    error
}

// NewHandler serves b, and the images of l unless that is nil.
func NewHandler(b Backend, l Library) http.Handler {
	routes := nodeRoutes(b)
	if l != nil {
		routes = append(routes, imageRoutes(l)...)
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, r.serve)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		document, err := OpenAPI()
		if err != nil {
			answer(w, nil, err)
			return
		}
		write(w, http.StatusOK, json.RawMessage(document))
	})
	return mux
}

// readRequest reads the one JSON value of a body.
func readRequest(r io.Reader, req any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(req); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the request: it is more than one JSON value")
	}
	return nil
}

func readWhy(r io.Reader) (string, error) {
	var req holdRequest
	if err := readRequest(r, &req); err != nil {
		return "", err
	}
	if len(req.Why) > maxWhy || strings.ContainsFunc(req.Why, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("reading why the node is held: it is not one line of at most %d bytes", maxWhy)
	}
	return cmp.Or(req.Why, "an operator holds it"), nil
}

// transactionRE is a word.
var transactionRE = regexp.MustCompile(`^[a-z]{0,32}$`)

func readWindow(r io.Reader) (ArmOptions, error) {
	var req armRequest
	if err := readRequest(r, &req); err != nil {
		return ArmOptions{}, err
	}
	window, err := time.ParseDuration(req.For)
	if err != nil {
		return ArmOptions{}, fmt.Errorf("reading the length of the window: %w", err)
	}
	if !transactionRE.MatchString(req.Transaction) {
		return ArmOptions{}, fmt.Errorf("reading the transaction: %q is not a word of at most 32 letters", req.Transaction)
	}
	return ArmOptions{For: window, Image: req.Image, KeepEtcd: req.KeepEtcd, Transaction: req.Transaction, Check: req.Check}, nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err == nil {
		write(w, http.StatusOK, v)
		return
	}
	if offset := (*library.OffsetError)(nil); errors.As(err, &offset) {
		err = &remoteError{err.Error(), errOffset}
	}
	if content := (*library.ContentError)(nil); errors.As(err, &content) {
		err = &remoteError{err.Error(), errContent}
	}
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			write(w, s.status, errorBody{err.Error(), s.code})
			return
		}
	}
	write(w, http.StatusInternalServerError, errorBody{Error: err.Error()})
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The reader is gone if this fails; there is nobody to tell.
	_, _ = w.Write(append(b, '\n'))
}

// readError turns an answer that is not 200 into an error.
func readError(status int, body []byte) error {
	var e errorBody
	if err := json.Unmarshal(body, &e); err != nil || e.Error == "" {
		return fmt.Errorf("the server answered %d: %s", status, strings.TrimSpace(string(body)))
	}
	for _, s := range sentinels() {
		if e.Code == s.code {
			return &remoteError{e.Error, s.err}
		}
	}
	return errors.New(e.Error)
}

// remoteError is an error of the server's with the sentinel that it wrapped
// there.
type remoteError struct {
	message  string
	sentinel error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.sentinel }
