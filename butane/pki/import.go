package pki

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Import makes a bundle of the authorities of a cluster that kubeadm has made.
// Folder is its /etc/kubernetes/pki, with the etcd authority in etcd/:
// https://kubernetes.io/docs/setup/best-practices/certificates/. What kubeadm
// does not have is made: the authority of the provisioning server, a cluster ID,
// the password of keepalived and the key of Secrets in etcd.
//
// All that is missing or wrong is one error.
func Import(folder fs.FS, opts Options) (Bundle, error) {
	if err := opts.check(); err != nil {
		return Bundle{}, fmt.Errorf("importing authorities: %w", err)
	}
	b, err := New(opts)
	if err != nil {
		return Bundle{}, err
	}
	var problems []error
	read := func(into *string, name string) {
		content, err := fs.ReadFile(folder, name)
		if err != nil {
			problems = append(problems, err)
		}
		*into = string(content)
	}
	for _, a := range []struct {
		pair *KeyPair
		name string
	}{
		{&b.Kubernetes, "ca"},
		{&b.FrontProxy, "front-proxy-ca"},
		{&b.Etcd, "etcd/ca"},
	} {
		read(&a.pair.Certificate, a.name+".crt")
		read(&a.pair.Key, a.name+".key")
	}
	read(&b.ServiceAccount.PublicKey, "sa.pub")
	read(&b.ServiceAccount.Key, "sa.key")
	if len(problems) > 0 {
		return Bundle{}, fmt.Errorf("importing authorities: %w", errors.Join(problems...))
	}
	if err := b.Validate(); err != nil {
		return Bundle{}, fmt.Errorf("importing authorities: %w", err)
	}
	return b, nil
}

// Renew makes the certificates of all authorities anew, with the names and keys
// that they have: leaves of before stay valid. [Options.Validity] is their life,
// by default [DefaultAuthorityValidity].
func (b Bundle) Renew(opts Options) (Bundle, error) {
	if err := opts.check(); err != nil {
		return Bundle{}, fmt.Errorf("renewing authorities: %w", err)
	}
	if opts.Validity == 0 {
		opts.Validity = DefaultAuthorityValidity
	}
	for _, a := range b.authorities() {
		renewed, err := renewAuthority(*a.pair, a.cn, a.backdate, opts)
		if err != nil {
			return Bundle{}, fmt.Errorf("renewing authority %s: %w", a.cn, err)
		}
		*a.pair = renewed
	}
	return b, nil
}

// An Authority is what everybody may know of one.
type Authority struct {
	Name string `json:"name"`
	// SHA256 is the hexadecimal digest of the certificate, and PublicKey that of
	// its key, in the form of kubeadm's --discovery-token-ca-cert-hash.
	SHA256    string `json:"sha256"`
	PublicKey string `json:"publicKeySHA256"`
	// Algorithm of the key: ECDSA or RSA.
	Algorithm string    `json:"algorithm"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Certificate is PEM.
	Certificate string `json:"certificate"`
}

// Authorities lists those of the bundle, without their keys.
func (b Bundle) Authorities() ([]Authority, error) {
	var all []Authority
	for _, a := range b.authorities() {
		cert, err := parseCertificate(a.pair.Certificate)
		if err != nil {
			return nil, fmt.Errorf("authority %s: %w", a.cn, err)
		}
		all = append(all, Authority{
			Name:      a.cn,
			SHA256:    digest(cert.Raw),
			PublicKey: digest(cert.RawSubjectPublicKeyInfo),
			Algorithm: cert.PublicKeyAlgorithm.String(),
			NotBefore: cert.NotBefore.UTC(),
			NotAfter:  cert.NotAfter.UTC(),

			Certificate: a.pair.Certificate,
		})
	}
	return all, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
