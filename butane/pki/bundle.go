package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/google/uuid"
)

// APIVersion and Kind identify a bundle.
const (
	APIVersion = apiGroup + "v1alpha1"
	Kind       = "Secrets"
)

// apiGroup is that of all versions.
const apiGroup = "k8snode.io/"

// Common names of the authorities; those of Kubernetes are kubeadm's.
const (
	KubernetesCN = "kubernetes"
	FrontProxyCN = "front-proxy-ca"
	EtcdCN       = "etcd-ca"
	ProvisionCN  = "k8snode-provision-ca"
)

// DefaultAuthorityValidity is the life of an authority, ten years as in
// kubeadm.
const DefaultAuthorityValidity = 87600 * time.Hour

// A Bundle holds every authority of a cluster.
type Bundle struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// ClusterID is a random UUID. It is the token of the etcd cluster and the
	// fence that keeps a node out of a cluster of the same name.
	ClusterID string `json:"clusterID"`
	// Kubernetes signs the API server, its clients and join credentials.
	Kubernetes KeyPair `json:"kubernetes"`
	// FrontProxy signs the client of aggregated API servers.
	FrontProxy KeyPair `json:"frontProxy"`
	// Etcd signs servers, peers and clients of etcd. Its key never leaves the
	// operator's machine.
	Etcd KeyPair `json:"etcd"`
	// Provision signs the provisioning server.
	Provision KeyPair `json:"provision"`
	// ServiceAccount signs service account tokens.
	ServiceAccount ServiceAccount `json:"serviceAccount"`
	// KeepalivedPassword has 8 letters and digits, as VRRP reads no more of one.
	KeepalivedPassword string `json:"keepalivedPassword"`
	// EncryptionKey is that of Secrets in etcd, 32 bytes as base64.
	EncryptionKey string `json:"encryptionKey"`
}

// A KeyPair is a certificate and its private key, PEM.
type KeyPair struct {
	// Certificate is one CERTIFICATE block.
	Certificate string `json:"certificate"`
	// Key is one block: EC PRIVATE KEY, or of an authority that was imported
	// RSA PRIVATE KEY or PRIVATE KEY.
	Key string `json:"key"`
}

// ServiceAccount is a key pair without certificate, PEM.
type ServiceAccount struct {
	// PublicKey is one PUBLIC KEY block, Key one as that of a [KeyPair].
	PublicKey string `json:"publicKey"`
	Key       string `json:"key"`
}

// Options are the arguments of everything that is minted.
type Options struct {
	// Now is the moment of minting.
	Now time.Time
	// Rand is the source of keys and serial numbers, crypto/rand.Reader
	// outside of tests.
	Rand io.Reader
	// PublicKey is certified in place of that of a new key; the pair then has no
	// Key. It is for leaves.
	PublicKey crypto.PublicKey
	// Validity is the life from Now on. Zero means the default of what is
	// minted. A leaf ends with its authority at the latest.
	Validity time.Duration
}

// New makes the authorities of a new cluster. Options.Validity is their life,
// by default [DefaultAuthorityValidity].
func New(opts Options) (Bundle, error) {
	if err := opts.check(); err != nil {
		return Bundle{}, fmt.Errorf("making authorities: %w", err)
	}
	if opts.Validity == 0 {
		opts.Validity = DefaultAuthorityValidity
	}
	id, err := uuid.NewRandomFromReader(opts.Rand)
	if err != nil {
		return Bundle{}, fmt.Errorf("making the cluster ID: %w", err)
	}
	b := Bundle{APIVersion: APIVersion, Kind: Kind, ClusterID: id.String()}
	for _, a := range b.authorities() {
		if *a.pair, err = newAuthority(a.cn, a.backdate, opts); err != nil {
			return Bundle{}, fmt.Errorf("making authority %s: %w", a.cn, err)
		}
	}
	if b.ServiceAccount, err = newServiceAccount(opts.Rand); err != nil {
		return Bundle{}, fmt.Errorf("making the service account key: %w", err)
	}
	if err := b.newSecrets(opts.Rand); err != nil {
		return Bundle{}, err
	}
	return b, nil
}

// A slot is the place of an authority in a bundle.
type slot struct {
	pair     *KeyPair
	cn       string
	backdate time.Duration
}

func (b *Bundle) authorities() []slot {
	return []slot{
		{&b.Kubernetes, KubernetesCN, backdate},
		{&b.FrontProxy, FrontProxyCN, backdate},
		{&b.Etcd, EtcdCN, backdate},
		{&b.Provision, ProvisionCN, provisionBackdate},
	}
}

// newSecrets makes what is no certificate.
func (b *Bundle) newSecrets(rand io.Reader) error {
	var err error
	if b.KeepalivedPassword, err = newPassword(rand); err != nil {
		return fmt.Errorf("making the keepalived password: %w", err)
	}
	key := make([]byte, encryptionKeySize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return fmt.Errorf("making the encryption key: %w", err)
	}
	b.EncryptionKey = base64.StdEncoding.EncodeToString(key)
	return nil
}

// Begun checks that every authority is valid by now, as far as its beginning goes.
func (b Bundle) Begun(now time.Time) error {
	for _, a := range b.authorities() {
		ca, _, err := a.pair.parse()
		if err != nil {
			return fmt.Errorf("authority %s: %w", a.cn, err)
		}
		if err := begun(ca, now); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks that the bundle is complete: every authority is one, and
// every private key belongs to its public one.
func (b Bundle) Validate() error {
	if b.APIVersion != APIVersion || b.Kind != Kind {
		return fmt.Errorf("not a secrets bundle: apiVersion %q, kind %q; want %q, %q", b.APIVersion, b.Kind, APIVersion, Kind)
	}
	if _, err := uuid.Parse(b.ClusterID); err != nil {
		return fmt.Errorf("cluster ID %q is not a UUID", b.ClusterID)
	}
	for _, a := range b.authorities() {
		cert, _, err := a.pair.parse()
		if err != nil {
			return fmt.Errorf("authority %s: %w", a.cn, err)
		}
		if !cert.IsCA || cert.Subject.CommonName != a.cn {
			return fmt.Errorf("authority %s: certificate of %q is not this authority", a.cn, cert.Subject.CommonName)
		}
	}
	if err := b.ServiceAccount.validate(); err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	if !passwordPattern.MatchString(b.KeepalivedPassword) {
		return errors.New("keepalived password is not 8 letters and digits")
	}
	if key, err := base64.StdEncoding.DecodeString(b.EncryptionKey); err != nil || len(key) != encryptionKeySize {
		return fmt.Errorf("encryption key is not %d bytes as base64", encryptionKeySize)
	}
	return nil
}

// encryptionKeySize is that of secretbox.
const encryptionKeySize = 32

const passwordLength = 8

var passwordPattern = regexp.MustCompile(`^[A-Za-z0-9]{8}$`)

// newPassword takes characters by rejection: 248 is the largest multiple of 62
// in a byte.
func newPassword(rand io.Reader) (string, error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	const fair = 256 / len(letters) * len(letters)
	const attempts = 256 // 8 of them succeed but with probability below 2⁻¹⁰⁰⁰
	password := make([]byte, 0, passwordLength)
	one := make([]byte, 1)
	for range attempts {
		if len(password) == passwordLength {
			return string(password), nil
		}
		if _, err := io.ReadFull(rand, one); err != nil {
			return "", fmt.Errorf("reading randomness: %w", err)
		}
		if int(one[0]) < fair {
			password = append(password, letters[int(one[0])%len(letters)])
		}
	}
	return "", errors.New("source of randomness repeats itself")
}

// NotAfter returns the moment at which the certificate expires.
func (p KeyPair) NotAfter() (time.Time, error) {
	cert, err := parseCertificate(p.Certificate)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// parse returns the certificate and its key, which belong together.
func (p KeyPair) parse() (*x509.Certificate, crypto.Signer, error) {
	cert, err := parseCertificate(p.Certificate)
	if err != nil {
		return nil, nil, err
	}
	key, err := parseKey(p.Key)
	if err != nil {
		return nil, nil, err
	}
	if !belongs(key, cert.PublicKey) {
		return nil, nil, errors.New("private key does not belong to the certificate")
	}
	return cert, key, nil
}

func (s ServiceAccount) validate() error {
	key, err := parseKey(s.Key)
	if err != nil {
		return err
	}
	block, rest := pem.Decode([]byte(s.PublicKey))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		return errors.New("public key is not one PUBLIC KEY block of PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("reading the public key: %w", err)
	}
	if !belongs(key, public) {
		return errors.New("private key does not belong to the public key")
	}
	return nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		return nil, errors.New("certificate is not one CERTIFICATE block of PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return cert, nil
}

// parseKey reads what openssl and kubeadm write. Our own keys are of the first
// kind.
func parseKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) != 0 {
		return nil, errors.New("private key is not one block of PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("private key is one %s block; want EC PRIVATE KEY, RSA PRIVATE KEY or PRIVATE KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key is a %T, which cannot sign", key)
	}
	return signer, nil
}

// belongs reports whether a public key is that of a private one.
func belongs(key crypto.Signer, public any) bool {
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

func (o Options) check() error {
	switch {
	case o.Now.IsZero():
		return errors.New("internal error: no time given")
	case o.Rand == nil:
		return errors.New("internal error: no source of randomness given")
	case o.Validity < 0:
		return fmt.Errorf("validity %s is negative", o.Validity)
	}
	return nil
}
