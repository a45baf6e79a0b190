package provision

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
)

var (
	// What stands in a script as it is: nothing that iPXE or a URL would take
	// for syntax.
	argRE = regexp.MustCompile(`^[A-Za-z0-9._+:,=/@%-]+$`)
)

// validate returns every problem of o, joined.
func (o Options) validate() (*inventory.Inventory, error) {
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
	if o.Renew != nil {
		if err := authority(o.RenewCA); err != nil {
			problem("RenewCA: %w", err)
		}
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
	machines, err := inventory.New(o.Inventory)
	if err != nil {
		problems = append(problems, err)
	}
	return machines, errors.Join(problems...)
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
	return o.accept(current)
}

// accept says why an image cannot be installed by this server.
func (o Options) accept(image library.Image) error {
	m := image.Manifest
	problems := []error{library.Check(m), o.Images.Trusted(image)}
	if _, ok := m.Artifact(images.IPXEFile); o.TFTPListen != "" && !ok {
		problems = append(problems, fmt.Errorf("TFTP: the image has no %s", images.IPXEFile))
	}
	if o.Fits != nil {
		problems = append(problems, o.Fits(m))
	}
	return errors.Join(problems...)
}
