package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// organization begins the O that gives a certificate a role.
const organization = "k8snode:"

// AskForCertificate makes a listener ask for the certificates that the guard
// knows. It does not make it check them: a certificate that is not good is
// refused by an answer, and audited.
func (g *Guard) AskForCertificate(c *tls.Config) {
	if g.opts.ClientCAs != nil {
		c.ClientAuth, c.ClientCAs = tls.RequestClientCert, g.opts.ClientCAs
	}
}

// fromCertificate reads who a certificate is for. chain begins with it. TLS has
// proved that the peer has its key.
func fromCertificate(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (Identity, error) {
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return Identity{}, errors.New("the certificate has ended, or has not begun")
	}
	if err != nil {
		return Identity{}, errors.New("the certificate is not one of the operators' authority for clients")
	}
	if !nameRE.MatchString(leaf.Subject.CommonName) {
		return Identity{}, errors.New("the certificate has no name that can be one: its CN is letters, digits and . _ @ -, at most 64")
	}
	i := Identity{Name: leaf.Subject.CommonName, Method: ByCertificate}
	for _, role := range []Role{Operator, Viewer} {
		if slices.Contains(leaf.Subject.Organization, organization+string(role)) {
			i.Role = role
			return i, nil
		}
	}
	return Identity{}, fmt.Errorf("the certificate gives no role: its O is neither %s%s nor %s%s", organization, Viewer, organization, Operator)
}
