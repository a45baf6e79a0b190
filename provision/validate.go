package provision

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

var (
	labelRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// What stands in a script as it is: nothing that iPXE or a URL would take
	// for syntax.
	argRE = regexp.MustCompile(`^[A-Za-z0-9._+:,=/@%-]+$`)
)

// machine is a checked Machine.
type machine struct {
	Machine
	mac net.HardwareAddr
}

// urlMAC is the MAC as boot scripts spell it: 52-54-00-00-00-01.
func (m machine) urlMAC() string { return strings.ReplaceAll(m.mac.String(), ":", "-") }

// validate returns every problem of o, joined.
func (o Options) validate() ([]machine, error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if o.Now == nil || o.Rand == nil {
		problem("a clock and a source of randomness are required")
	}
	if o.Config == nil || o.Stub == nil {
		problem("the functions Config and Stub are required")
	}
	if err := baseURL(o.HTTPURL, "http"); err != nil {
		problem("HTTPURL %q: %w", o.HTTPURL, err)
	}
	if err := baseURL(o.TLSURL, "https"); err != nil {
		problem("TLSURL %q: %w", o.TLSURL, err)
	}
	if err := authority(o.CA); err != nil {
		problem("CA: %w", err)
	}
	if o.TLSListen != "" && len(o.Certificate.Certificate) == 0 {
		problem("a certificate is required")
	}
	if o.DHCP.Interface != "" && !o.DHCP.Server.Is4() {
		problem("DHCP: the server's IPv4 address is required")
	}
	for _, a := range o.KernelArguments {
		if !argRE.MatchString(a) {
			problem("kernel argument %q: not allowed in a boot script", a)
		}
	}
	if err := o.checkImage(); err != nil {
		problems = append(problems, err)
	}
	machines, more := checkInventory(o.Inventory)
	return machines, errors.Join(append(problems, more...)...)
}

func baseURL(s, scheme string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if u.Scheme != scheme || u.Host == "" || u.Host != strings.TrimPrefix(s, scheme+"://") || !argRE.MatchString(u.Host) {
		return fmt.Errorf("not of the form %s://host:port", scheme)
	}
	return nil
}

func authority(ca []byte) error {
	block, rest := pem.Decode(ca)
	if block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) > 0 {
		return errors.New("not the PEM of one certificate")
	}
	_, err := x509.ParseCertificate(block.Bytes)
	return err
}

// checkImage checks the current image, if there is one: others are checked when
// they become it.
func (o Options) checkImage() error {
	if o.Images == nil {
		return errors.New("a library of images is required")
	}
	current, err := o.Images.Current()
	if errors.Is(err, library.ErrNoCurrent) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.accept(current.Manifest)
}

// accept says why an image cannot be installed by this server.
func (o Options) accept(m images.Manifest) error {
	problems := []error{library.Check(m)}
	if _, ok := m.Artifact(images.IPXEFile); o.TFTPListen != "" && !ok {
		problems = append(problems, fmt.Errorf("TFTP: the image has no %s", images.IPXEFile))
	}
	if o.Fits != nil {
		problems = append(problems, o.Fits(m))
	}
	return errors.Join(problems...)
}

func checkInventory(inventory []Machine) ([]machine, []error) {
	var machines []machine
	var problems []error
	seen := make(map[string]string)
	unique := func(name, kind, value string) {
		if other, ok := seen[kind+value]; ok {
			problems = append(problems, fmt.Errorf("machine %q: %s %s is that of %q", name, kind, value, other))
		}
		seen[kind+value] = name
	}
	for _, m := range inventory {
		if !labelRE.MatchString(m.Name) {
			problems = append(problems, fmt.Errorf("machine %q: the name is not an RFC 1123 label", m.Name))
		}
		mac, err := net.ParseMAC(m.MAC)
		if err != nil || len(mac) != 6 {
			problems = append(problems, fmt.Errorf("machine %q: %q is not a MAC address", m.Name, m.MAC))
			continue
		}
		if !m.Address.IsValid() || !m.Address.Addr().Is4() {
			problems = append(problems, fmt.Errorf("machine %q: %s is not an IPv4 address with a prefix length", m.Name, m.Address))
			continue
		}
		unique(m.Name, "name", m.Name)
		unique(m.Name, "MAC", mac.String())
		unique(m.Name, "address", m.Address.Addr().String())
		machines = append(machines, machine{Machine: m, mac: mac})
	}
	return machines, problems
}
