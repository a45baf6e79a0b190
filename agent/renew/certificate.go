package renew

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// A Certificate is one of the node's.
type Certificate struct {
	// Name is that of its file, without extension.
	Name                string
	NotBefore, NotAfter time.Time
	// AuthorityEnds is when that of its authority on this node does.
	AuthorityEnds time.Time

	leaf *x509.Certificate
}

// Due returns the certificates that have less than a third of their life left, but
// for those that end with their authority: a new one would live no longer, and
// would be due again tomorrow.
func Due(all []Certificate, now time.Time) []Certificate {
	var due []Certificate
	for _, c := range all {
		if c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/3 && c.NotAfter.Before(c.AuthorityEnds) {
			due = append(due, c)
		}
	}
	return due
}

// earliest is when the first of them ends.
func earliest(all []Certificate) time.Time {
	var first time.Time
	for _, c := range all {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// readCertificate reads one, and its authority's.
func readCertificate(name, path, authority string) (Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Certificate{}, err
	}
	return signedBy(name, path, content, authority)
}

// signedBy parses what was read from path.
func signedBy(name, path string, content []byte, authority string) (Certificate, error) {
	c, err := parseCertificate(name, content)
	if err != nil {
		return Certificate{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if content, err = os.ReadFile(authority); err != nil {
		return Certificate{}, err
	}
	ca, err := parseCertificate("authority", content)
	if err != nil {
		return Certificate{}, fmt.Errorf("reading %s: %w", authority, err)
	}
	c.AuthorityEnds = ca.NotAfter
	return c, nil
}

func parseCertificate(name string, content []byte) (Certificate, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "CERTIFICATE" {
		return Certificate{}, errors.New("it holds no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{Name: name, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, leaf: leaf}, nil
}

// embedded is where a kubeconfig of kubeadm has its certificate.
var embedded = regexp.MustCompile(`(?m)^\s*client-certificate-data: (\S+)$`)

// readKubeconfig returns the client's certificate in it.
func readKubeconfig(name, path, authority string) (Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Certificate{}, err
	}
	found := embedded.FindSubmatch(content)
	if found == nil {
		return Certificate{}, fmt.Errorf("reading %s: it holds no client certificate", path)
	}
	decoded, err := base64.StdEncoding.DecodeString(string(found[1]))
	if err != nil {
		return Certificate{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return signedBy(name, path, decoded, authority)
}

// certificateRequest asks for a certificate for the key in a file: PKCS #10, PEM.
func certificateRequest(keyFile string, random io.Reader) (string, error) {
	content, err := os.ReadFile(keyFile)
	if err != nil {
		return "", err
	}
	key, err := parseKey(content)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", keyFile, err)
	}
	// Only the key counts.
	der, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "k8snode"}}, key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

func parseKey(content []byte) (crypto.PrivateKey, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("it holds no key")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// replaceableBy says why a certificate cannot take the place of c.
func (c Certificate) replaceableBy(text string, authority []byte, now time.Time) error {
	next, err := parseCertificate(c.Name, []byte(text))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return errors.New("the authority of etcd on this node is no certificate")
	}
	if _, err := next.leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	switch old, new := c.leaf, next.leaf; {
	case !bytes.Equal(old.RawSubjectPublicKeyInfo, new.RawSubjectPublicKeyInfo):
		return errors.New("it is for another key")
	case !bytes.Equal(old.RawSubject, new.RawSubject):
		return fmt.Errorf("it is for %s, and this one for %s", new.Subject, old.Subject)
	case new.NotAfter.Before(old.NotAfter):
		return fmt.Errorf("it ends %s, and this one %s", new.NotAfter.UTC().Format(time.DateOnly), old.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// replace writes a certificate to all its places that there are.
func replace(opts Options, name, text string) error {
	for i, stem := range node.CertificateFiles(name) {
		path := opts.path(stem + ".crt")
		if _, err := os.Stat(path); i > 0 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := atomicfile.Write(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
