package stub

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"github.com/k8snode/k8snode/ignition/check"
)

// Spec is the config specification of the stub.
const Spec = "3.4.0"

// Options say where the node's config is.
type Options struct {
	// URL of the config, https.
	URL string
	// CA is the PEM of the authorities that sign the server of URL. Ignition
	// trusts them in addition to those of the initramfs, which has none.
	CA string
	// Token is the bearer token of one delivery.
	Token string
}

type document struct {
	Ignition section `json:"ignition"`
}

type section struct {
	Version  string   `json:"version"`
	Config   config   `json:"config"`
	Security security `json:"security"`
}

type config struct {
	Replace replace `json:"replace"`
}

type replace struct {
	Source      string   `json:"source"`
	HTTPHeaders []header `json:"httpHeaders"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type security struct {
	TLS tls `json:"tls"`
}

type tls struct {
	Authorities []authority `json:"certificateAuthorities"`
}

type authority struct {
	Source string `json:"source"`
}

// token68 is the form of a bearer token (RFC 6750, section 2.1).
var token68 = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// Stub returns the stub as JSON.
func Stub(opts Options) ([]byte, error) {
	content, err := stub(opts)
	if err != nil {
		return nil, fmt.Errorf("making the stub config: %w", err)
	}
	return content, nil
}

func stub(opts Options) ([]byte, error) {
	if err := checkURL(opts.URL); err != nil {
		return nil, err
	}
	if err := checkAuthorities(opts.CA); err != nil {
		return nil, err
	}
	// The token itself stays out of the message.
	if !token68.MatchString(opts.Token) {
		return nil, errors.New("token is empty or has characters that a bearer token cannot have")
	}
	content, err := json.Marshal(document{Ignition: section{
		Version: Spec,
		Config: config{Replace: replace{
			Source:      opts.URL,
			HTTPHeaders: []header{{Name: "Authorization", Value: "Bearer " + opts.Token}},
		}},
		Security: security{TLS: tls{Authorities: []authority{{
			Source: "data:;base64," + base64.StdEncoding.EncodeToString([]byte(opts.CA)),
		}}}},
	}})
	if err != nil {
		return nil, err
	}
	if err := check.Check(content, Spec); err != nil {
		return nil, err
	}
	return content, nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("URL cannot be parsed")
	case u.Scheme != "https":
		return fmt.Errorf("URL of scheme %q is not https", u.Scheme)
	case u.Host == "":
		return errors.New("URL has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("URL has credentials, a query or a fragment; Ignition logs URLs")
	}
	return nil
}

func checkAuthorities(text string) error {
	rest := []byte(text)
	count := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		// A private key here would end on every disk.
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("authority has a block %q, want only certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("reading the authority: %w", err)
		}
		if !cert.IsCA {
			return fmt.Errorf("certificate of %q is not an authority", cert.Subject.CommonName)
		}
		count++
	}
	if count == 0 {
		return errors.New("authority has no certificate")
	}
	return nil
}
