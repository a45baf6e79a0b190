package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"time"
)

const (
	// backdate is kubeadm's CertificateBackdate: clocks of nodes differ.
	backdate = 5 * time.Minute

	// provisionBackdate is for what a machine checks before it has ever asked
	// a time server. A dead battery leaves its clock at systemd's build time
	// at best, years ago. The start of validity of a private authority guards
	// nothing, so a generous value costs nothing.
	provisionBackdate = 87600 * time.Hour
)

// keyUsage is kubeadm's for leaves; authorities add CertSign.
const keyUsage = x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature

// ErrAuthorityExpired is wrapped by the error of minting a leaf after the end
// of its authority.
var ErrAuthorityExpired = errors.New("authority has expired")

// ErrAuthorityNotYet is wrapped by the error of using an authority before it
// began: the clock is wrong.
var ErrAuthorityNotYet = errors.New("authority is not valid yet")

// A profile is what a leaf certificate says.
type profile struct {
	commonName    string
	organization  string
	usages        []x509.ExtKeyUsage
	dnsNames      []string
	addresses     []netip.Addr
	backdate      time.Duration
	defaultLength time.Duration
}

func newAuthority(cn string, backdate time.Duration, opts Options) (KeyPair, error) {
	key, err := newKey(opts.Rand)
	if err != nil {
		return KeyPair{}, err
	}
	template, err := authority(cn, backdate, opts)
	if err != nil {
		return KeyPair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	return sign(template, template, key.Public(), keyPEM, key)
}

// renewAuthority makes a certificate anew, for the same name and key: what the
// old one signed, the new one signed, too.
func renewAuthority(old KeyPair, cn string, backdate time.Duration, opts Options) (KeyPair, error) {
	_, key, err := old.parse()
	if err != nil {
		return KeyPair{}, err
	}
	template, err := authority(cn, backdate, opts)
	if err != nil {
		return KeyPair{}, err
	}
	return sign(template, template, key.Public(), old.Key, key)
}

func authority(cn string, backdate time.Duration, opts Options) (*x509.Certificate, error) {
	serial, err := newSerial(opts.Rand)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cn},
		// kubeadm and client-go repeat the common name here.
		DNSNames:              []string{cn},
		NotBefore:             opts.Now.UTC().Add(-backdate),
		NotAfter:              opts.Now.UTC().Add(opts.Validity),
		KeyUsage:              keyUsage | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

func begun(ca *x509.Certificate, now time.Time) error {
	if !now.Before(ca.NotBefore) {
		return nil
	}
	return fmt.Errorf("%w: %s begins at %s, and the clock says %s: set the clock",
		ErrAuthorityNotYet, ca.Subject.CommonName, ca.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// leaf mints a certificate of profile p, signed by authority.
func leaf(authority KeyPair, p profile, opts Options) (KeyPair, error) {
	pair, err := mint(authority, p, opts)
	if err != nil {
		return KeyPair{}, fmt.Errorf("minting certificate %q: %w", p.commonName, err)
	}
	return pair, nil
}

func mint(authority KeyPair, p profile, opts Options) (KeyPair, error) {
	if err := opts.check(); err != nil {
		return KeyPair{}, err
	}
	ca, caKey, err := authority.parse()
	if err != nil {
		return KeyPair{}, fmt.Errorf("authority: %w", err)
	}
	if !ca.NotAfter.After(opts.Now) {
		return KeyPair{}, fmt.Errorf("%w: %s, on %s", ErrAuthorityExpired, ca.Subject.CommonName, ca.NotAfter.Format(time.RFC3339))
	}
	if err := begun(ca, opts.Now); err != nil {
		return KeyPair{}, err
	}
	public, keyPEM, err := leafKey(opts)
	if err != nil {
		return KeyPair{}, err
	}
	serial, err := newSerial(opts.Rand)
	if err != nil {
		return KeyPair{}, err
	}
	length := opts.Validity
	if length == 0 {
		length = p.defaultLength
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: p.commonName},
		DNSNames:     p.dnsNames,
		NotBefore:    later(ca.NotBefore, opts.Now.UTC().Add(-p.backdate)),
		NotAfter:     earlier(ca.NotAfter, opts.Now.UTC().Add(length)),
		KeyUsage:     keyUsage,
		ExtKeyUsage:  p.usages,
		// kubeadm marks leaves as such, too.
		BasicConstraintsValid: true,
	}
	if p.organization != "" {
		template.Subject.Organization = []string{p.organization}
	}
	for _, a := range p.addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	return sign(template, ca, public, keyPEM, caKey)
}

// leafKey returns the key that is certified, and the PEM of its private half if it
// is made here.
func leafKey(opts Options) (public crypto.PublicKey, keyPEM string, err error) {
	if opts.PublicKey != nil {
		return opts.PublicKey, "", nil
	}
	key, err := newKey(opts.Rand)
	if err != nil {
		return nil, "", err
	}
	keyPEM, err = encodeKey(key)
	return key.Public(), keyPEM, err
}

// sign signs without randomness: crypto/ecdsa then makes the signature of
// RFC 6979, which depends on key and content alone, and RSA's does so anyway.
func sign(template, parent *x509.Certificate, public any, keyPEM string, signer crypto.Signer) (KeyPair, error) {
	der, err := x509.CreateCertificate(nil, template, parent, public, signer)
	if err != nil {
		return KeyPair{}, fmt.Errorf("signing: %w", err)
	}
	return KeyPair{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:         keyPEM,
	}, nil
}

func newServiceAccount(rand io.Reader) (ServiceAccount, error) {
	key, err := newKey(rand)
	if err != nil {
		return ServiceAccount{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return ServiceAccount{}, fmt.Errorf("encoding the public key: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return ServiceAccount{}, err
	}
	return ServiceAccount{
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		Key:       keyPEM,
	}, nil
}

// newKey takes the private scalar from rand by rejection sampling (FIPS 186-5,
// A.2.2). ecdsa.GenerateKey ignores its reader since Go 1.26.
func newKey(rand io.Reader) (*ecdsa.PrivateKey, error) {
	const attempts = 16 // each fails with probability 2⁻³²
	scalar := make([]byte, 32)
	for range attempts {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("reading randomness: %w", err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("making a key: source of randomness gave no scalar of P-256 in %d attempts", attempts)
}

// newSerial returns a positive number of at most 126 bits.
func newSerial(rand io.Reader) (*big.Int, error) {
	number := make([]byte, 16)
	if _, err := io.ReadFull(rand, number); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	number[0] &= 0x3f
	number[15] |= 1
	return new(big.Int).SetBytes(number), nil
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding the private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
