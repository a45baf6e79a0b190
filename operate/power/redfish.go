package power

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxAnswer bounds what is read of a controller.
const maxAnswer = 4 << 20

// Redfish is a controller that speaks Redfish.
type Redfish struct {
	base           *url.URL
	user, password string
	http           *http.Client
}

// RedfishOptions say where a controller is.
type RedfishOptions struct {
	// URL is https, with a host; with a path it is that of the one system, such as
	// /redfish/v1/Systems/1, for controllers of several machines.
	URL            string
	User, Password string
	// TLS has the authority of the controller, or checks its certificate.
	TLS *tls.Config
	// Timeout is for one request, 30 seconds by default.
	Timeout time.Duration
}

// NewRedfish returns a controller; it asks it nothing yet.
func NewRedfish(opts RedfishOptions) (*Redfish, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("reading the URL of a controller %q: it is not of the form https://HOST[/redfish/v1/Systems/ID]", opts.URL)
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	return &Redfish{
		base: u, user: opts.User, password: opts.Password,
		http: &http.Client{
			Timeout:   opts.Timeout,
			Transport: &http.Transport{TLSClientConfig: opts.TLS, DisableKeepAlives: true},
			// The password is for one host.
			CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				if r.URL.Host != u.Host || r.URL.Scheme != "https" {
					return fmt.Errorf("the controller leads to %s://%s", r.URL.Scheme, r.URL.Host)
				}
				return nil
			},
		},
	}, nil
}

// system is what is needed of a ComputerSystem (DSP0268).
type system struct {
	ID         string `json:"@odata.id"`
	ETag       string `json:"@odata.etag"`
	PowerState string
	Boot       struct {
		Allowed []string `json:"BootSourceOverrideTarget@Redfish.AllowableValues"`
		Mode    string   `json:"BootSourceOverrideMode"`
	}
	Actions struct {
		Reset struct {
			Target  string   `json:"target"`
			Allowed []string `json:"ResetType@Redfish.AllowableValues"`
		} `json:"#ComputerSystem.Reset"`
	}
}

// State asks for the PowerState.
func (r *Redfish) State(ctx context.Context) (State, error) {
	s, err := r.system(ctx)
	if err != nil {
		return "", err
	}
	switch s.PowerState {
	case "On":
		return On, nil
	case "Off":
		return Off, nil
	case "PoweringOn", "PoweringOff", "Paused":
		return Between, nil
	}
	return "", fmt.Errorf("reading %s: there is no power state %q", s.ID, s.PowerState)
}

// Set resets the system, to on or to off.
func (r *Redfish) Set(ctx context.Context, want State) error {
	s, err := r.system(ctx)
	if err != nil {
		return err
	}
	ways := []string{"On", "ForceOn"}
	if want == Off {
		ways = []string{"ForceOff", "PushPowerButton"}
	}
	way, err := choose("to reset a system", ways, s.Actions.Reset.Allowed)
	if err != nil {
		return err
	}
	target := s.Actions.Reset.Target
	if target == "" {
		return fmt.Errorf("%w: %s has no way to be reset", ErrUnsupported, s.ID)
	}
	return r.send(ctx, http.MethodPost, target, "", map[string]string{"ResetType": way})
}

// BootNetwork overrides the boot source, once.
func (r *Redfish) BootNetwork(ctx context.Context) error {
	s, err := r.system(ctx)
	if err != nil {
		return err
	}
	target, err := choose("to boot from", []string{"Pxe", "UefiHttp"}, s.Boot.Allowed)
	if err != nil {
		return err
	}
	boot := map[string]string{"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once"}
	if s.Boot.Mode != "" {
		// Some go back to the legacy BIOS unless told otherwise.
		boot["BootSourceOverrideMode"] = "UEFI"
	}
	return r.send(ctx, http.MethodPatch, s.ID, s.ETag, map[string]any{"Boot": boot})
}

// choose returns the first of ways that is allowed. A controller that does not say
// what it allows is taken at its word later.
func choose(what string, ways, allowed []string) (string, error) {
	if len(allowed) == 0 {
		return ways[0], nil
	}
	for _, way := range ways {
		if slices.Contains(allowed, way) {
			return way, nil
		}
	}
	return "", fmt.Errorf("%w: of the ways %s it has %s, and none of %s", ErrUnsupported, what, strings.Join(allowed, ", "), strings.Join(ways, ", "))
}

// system reads the one system.
func (r *Redfish) system(ctx context.Context) (system, error) {
	path := r.base.Path
	if strings.Trim(path, "/") == "" {
		var all struct {
			Members []struct {
				ID string `json:"@odata.id"`
			}
		}
		if _, err := r.get(ctx, "/redfish/v1/Systems", &all); err != nil {
			return system{}, err
		}
		if len(all.Members) != 1 {
			var ids []string
			for _, m := range all.Members {
				ids = append(ids, m.ID)
			}
			return system{}, fmt.Errorf("the controller has %d systems, name one in its URL: %s", len(ids), strings.Join(ids, ", "))
		}
		path = all.Members[0].ID
	}
	var s system
	etag, err := r.get(ctx, path, &s)
	if err != nil {
		return system{}, err
	}
	if etag != "" {
		s.ETag = etag
	}
	if s.ID == "" {
		s.ID = path
	}
	return s, nil
}

func (r *Redfish) get(ctx context.Context, path string, into any) (etag string, err error) {
	header, body, err := r.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return "", fmt.Errorf("reading %s of the controller: %w", path, err)
	}
	return header.Get("ETag"), nil
}

func (r *Redfish) send(ctx context.Context, method, path, etag string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, _, err = r.do(ctx, method, path, etag, b)
	return err
}

func (r *Redfish) do(ctx context.Context, method, path, etag string, body []byte) (http.Header, []byte, error) {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return nil, nil, fmt.Errorf("the controller names %q, which is no path of it", path)
	}
	where := *r.base
	where.Path = path
	req, err := http.NewRequestWithContext(ctx, method, where.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("making a request to the controller: %w", err)
	}
	req.SetBasicAuth(r.user, r.password)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the controller: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer of the controller: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, nil, fmt.Errorf("%s %s: the controller answered %d%s", method, path, resp.StatusCode, reason(resp.StatusCode, answer))
	}
	return resp.Header, answer, nil
}

// reason is what a controller says of an error (DSP0266, 8.6).
func reason(status int, body []byte) string {
	var e struct {
		Error struct {
			Message string                     `json:"message"`
			Info    []struct{ Message string } `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	var words []string
	if err := json.Unmarshal(body, &e); err == nil {
		for _, i := range e.Error.Info {
			words = append(words, i.Message)
		}
		if len(words) == 0 && e.Error.Message != "" {
			words = append(words, e.Error.Message)
		}
	}
	if status == http.StatusUnauthorized {
		words = append(words, "is the password right?")
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, " ")
}

// errPin is the error of a certificate that is not the one that was named.
var errPin = errors.New("the certificate of the controller is not the one whose SHA-256 the document has")
