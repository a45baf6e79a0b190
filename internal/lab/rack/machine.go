package rack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/lab/guestconfig"
	"github.com/k8snode/k8snode/provision/api"
)

// machine is one on its way.
type machine struct {
	Place
	uuid  string
	run   *run
	dice  Dice
	http  *http.Client
	thief *http.Client
	// config is the digest of the config that it got first.
	config [sha256.Size]byte
	got    bool
}

// way is from power on to ready.
func (m *machine) way(ctx context.Context) error {
	if err := m.firmware(ctx); err != nil {
		return fmt.Errorf("firmware of %s: %w", m.Name, err)
	}
	seed, err := m.seed(ctx)
	if err != nil {
		return fmt.Errorf("seed of %s: %w", m.Name, err)
	}
	if seed.CA != m.run.opts.CA {
		return fmt.Errorf("seed of %s: it is of another authority", m.Name)
	}
	stub, err := m.install(ctx, seed)
	if err != nil {
		return fmt.Errorf("installing %s: %w", m.Name, err)
	}
	report, err := m.ignite(ctx, stub)
	if err != nil {
		return fmt.Errorf("config of %s: %w", m.Name, err)
	}
	if err := m.live(ctx, report, stub); err != nil {
		return fmt.Errorf("first boot of %s: %w", m.Name, err)
	}
	return nil
}

// query is what iPXE says of the machine.
func (m *machine) query() string {
	return "uuid=" + m.uuid + "&serial=SN-" + m.Name + "&manufacturer=rack&product=none&mac=" + strings.ReplaceAll(m.MAC, ":", "-") + "&mac=&mac="
}

// firmware fetches the boot script, which installs.
func (m *machine) firmware(ctx context.Context) error {
	body, err := m.fetch(ctx, m.http, request{url: m.run.opts.HTTPURL + "/boot/machine.ipxe?" + m.query()})
	if err == nil && !bytes.Contains(body, []byte("installing "+m.Name+" with image")) {
		err = fmt.Errorf("the script does not install it: %.200s", body)
	}
	return err
}

// seed fetches what is appended to the initramfs.
func (m *machine) seed(ctx context.Context) (api.Seed, error) {
	body, err := m.fetch(ctx, m.http, request{url: m.run.opts.HTTPURL + "/seed/machine.cpio?" + m.query()})
	if err != nil {
		return api.Seed{}, err
	}
	var seed api.Seed
	content, err := newcFile(body, strings.TrimPrefix(api.SeedPath, "/"))
	if err == nil {
		err = json.Unmarshal(content, &seed)
	}
	if err == nil && seed.Node != m.Name {
		m.run.count(wrong, "the seed of "+m.Name+" is of "+seed.Node)
		err = errors.New("it is another machine's")
	}
	return seed, err
}

// stub is what Ignition fetches.
type stub struct{ url, token string }

// install fetches the plan and tells of the installation.
func (m *machine) install(ctx context.Context, seed api.Seed) (stub, error) {
	body, err := m.fetch(ctx, m.http, request{url: seed.Server + api.PathInstall, token: seed.Token})
	if err != nil {
		return stub{}, err
	}
	var plan api.InstallPlan
	if err := json.Unmarshal(body, &plan); err != nil {
		return stub{}, err
	}
	var config struct {
		Ignition struct {
			Config struct {
				Replace struct {
					Source      string
					HTTPHeaders []struct{ Name, Value string }
				}
			}
		}
	}
	if err := json.Unmarshal(plan.Stub, &config); err != nil {
		return stub{}, fmt.Errorf("reading the stub: %w", err)
	}
	replace := config.Ignition.Config.Replace
	if plan.Node != m.Name || len(replace.HTTPHeaders) != 1 || strings.Contains(replace.Source, "?") {
		return stub{}, fmt.Errorf("the plan is for %q, with the stub %s", plan.Node, replace.Source)
	}
	for _, r := range []api.Report{
		{Phase: api.PhaseInstalling, Step: "write", Done: 1 << 20, Total: 1 << 30},
		{Phase: api.PhaseInstalling, Step: "verify", Done: 1 << 30, Total: 1 << 30},
		{Phase: api.PhaseInstalled},
	} {
		if err := m.report(ctx, seed, r); err != nil {
			return stub{}, err
		}
	}
	return stub{replace.Source, strings.TrimPrefix(replace.HTTPHeaders[0].Value, "Bearer ")}, nil
}

func (m *machine) report(ctx context.Context, seed api.Seed, r api.Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = m.fetch(ctx, m.http, request{url: seed.Server + api.PathReport, token: seed.Token, body: b})
	return err
}

// ignite fetches the config, rudely, and returns by what the node reports.
func (m *machine) ignite(ctx context.Context, s stub) (api.ReportConfig, error) {
	// A reader that goes away in the middle, as often as not, and one that did not
	// understand and asks again.
	for range m.dice.IntN(3) {
		m.breakOff(ctx, s)
	}
	var report api.ReportConfig
	for range 1 + m.dice.IntN(2) {
		m.steal(ctx, s, "while it is delivered")
		body, err := m.fetch(ctx, m.http, request{url: s.url, token: s.token})
		if err != nil {
			return api.ReportConfig{}, err
		}
		if report, err = m.accept(body); err != nil {
			return api.ReportConfig{}, err
		}
	}
	return report, nil
}

// accept checks a config: it is this machine's, and the one that it got before.
func (m *machine) accept(body []byte) (api.ReportConfig, error) {
	if sum := sha256.Sum256(body); m.got && sum != m.config {
		m.run.count(double, m.Name+" got two configs")
	} else {
		m.config, m.got = sum, true
	}
	var config guestconfig.Config
	if err := json.Unmarshal(body, &config); err != nil {
		return api.ReportConfig{}, err
	}
	if config.Storage == nil {
		return api.ReportConfig{}, errors.New("the config has no files")
	}
	files := map[string][]byte{}
	for _, f := range config.Storage.Files {
		if f.Path == "/etc/hostname" || f.Path == api.ReportPath {
			content, err := f.Contents.Content()
			if err != nil {
				return api.ReportConfig{}, err
			}
			files[f.Path] = content
		}
	}
	if got := strings.TrimSpace(string(files["/etc/hostname"])); got != m.Name {
		m.run.count(wrong, m.Name+" got the config of "+got)
		return api.ReportConfig{}, errors.New("it is another machine's")
	}
	var report api.ReportConfig
	if err := json.Unmarshal(files[api.ReportPath], &report); err != nil {
		return api.ReportConfig{}, fmt.Errorf("reading %s: %w", api.ReportPath, err)
	}
	return report, nil
}

// live reports from the booted system; then the config is burned.
func (m *machine) live(ctx context.Context, report api.ReportConfig, s stub) error {
	if err := m.report(ctx, report, api.Report{Phase: api.PhaseBootstrapping, Step: "join"}); err != nil {
		return err
	}
	m.steal(ctx, s, "after it booted")
	status, _, err := m.once(ctx, m.http, request{url: s.url, token: s.token})
	if err == nil && status == http.StatusOK {
		m.run.count(replayed, m.Name+" got its config after it had booted")
	}
	return m.report(ctx, report, api.Report{Phase: api.PhaseReady})
}

// steal has a thief with the token ask from another address.
func (m *machine) steal(ctx context.Context, s stub, when string) {
	if m.dice.IntN(4) > 0 {
		return
	}
	status, _, err := m.once(ctx, m.thief, request{url: s.url, token: s.token})
	if err == nil && status == http.StatusOK {
		m.run.count(stolen, "the config of "+m.Name+" went to a thief, "+when)
	}
	m.run.count(thefts, "")
}

// request is what is asked.
type request struct {
	url, token string
	// body is posted; without, it is a GET.
	body []byte
}

// fetch asks until it is answered: 503, broken connections and a server that starts
// again are passed over, as by iPXE, the agent and Ignition.
func (m *machine) fetch(ctx context.Context, c *http.Client, r request) ([]byte, error) {
	var last error
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		status, body, err := m.once(ctx, c, r)
		switch {
		case err == nil && status == http.StatusOK:
			return body, nil
		case err == nil && status != http.StatusServiceUnavailable && status < 500:
			return nil, fmt.Errorf("%s: %d %.200s", withoutQuery(r.url), status, body)
		case err == nil:
			err = fmt.Errorf("%s: %d", withoutQuery(r.url), status)
		}
		m.run.count(repeats, "")
		last = err
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), last)
		case <-time.After(pause):
		}
	}
}

func withoutQuery(url string) string { before, _, _ := strings.Cut(url, "?"); return before }

func (m *machine) once(ctx context.Context, c *http.Client, r request) (int, []byte, error) {
	resp, err := m.open(ctx, c, r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, body, err
}

func (m *machine) open(ctx context.Context, c *http.Client, r request) (*http.Response, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url, body)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	return c.Do(req)
}

// breakOff reads a part of a config and hangs up.
func (m *machine) breakOff(ctx context.Context, s stub) {
	resp, err := m.open(ctx, m.http, request{url: s.url, token: s.token})
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, int64(m.dice.IntN(4096)))
}

// newcHeader is that of an entry of a cpio archive: thirteen numbers of eight digits.
var newcHeader = regexp.MustCompile(`^070701(?:[0-9A-Fa-f]{8}){13}$`)

// newcFile returns the content of a file of a cpio archive.
func newcFile(archive []byte, name string) ([]byte, error) {
	const header = 110
	for len(archive) >= header {
		if !newcHeader.Match(archive[:header]) {
			return nil, errors.New("it is no cpio archive")
		}
		var size, length int
		if _, err := fmt.Sscanf(string(archive[54:62])+" "+string(archive[94:102]), "%x %x", &size, &length); err != nil {
			return nil, err
		}
		data := (header + length + 3) &^ 3
		end := (data + size + 3) &^ 3
		if length < 1 || data+size > len(archive) {
			return nil, errors.New("the archive is cut")
		}
		switch string(archive[header : header+length-1]) {
		case name:
			return archive[data : data+size], nil
		case "TRAILER!!!":
			return nil, fmt.Errorf("the archive has no %s", name)
		}
		archive = archive[min(end, len(archive)):]
	}
	return nil, fmt.Errorf("the archive has no %s", name)
}
