package cli

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/metrics"
	"github.com/k8snode/k8snode/provision/site"
	"github.com/k8snode/k8snode/provision/ui"
)

// siteFlags say how operators reach a server by HTTPS.
type siteFlags struct {
	listen, cert, key, ca, tokens string

	names   []string
	perNode bool
}

func (f *siteFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "operators", "", "HOST:PORT of the site for operators: pages, API and metrics (default: none)")
	cmd.Flags().StringVar(&f.tokens, "operators-tokens", "", "file of the tokens that the site accepts; \"k8snode token\" makes them")
	cmd.Flags().StringVar(&f.ca, "operators-ca", "", "authority whose client certificates the site accepts, PEM")
	cmd.Flags().StringVar(&f.cert, "operators-cert", "", "certificate of the site, PEM (default: one by the provisioning authority of the secrets)")
	cmd.Flags().StringVar(&f.key, "operators-key", "", "key of that certificate, PEM")
	cmd.Flags().StringSliceVar(&f.names, "operators-name", nil, "host names of the site, for the default certificate")
	cmd.Flags().BoolVar(&f.perNode, "metrics-per-node", false, "two series of metrics for each node as well")
	cmd.MarkFlagsRequiredTogether("operators-cert", "operators-key")
	cmd.MarkFlagsMutuallyExclusive("operators-cert", "operators-name")
}

// check finds what does not go together before anything is opened.
func (f siteFlags) check() error {
	if f.listen == "" {
		if f.tokens+f.ca+f.cert != "" || len(f.names) > 0 {
			return &usageError{"--operators-tokens, --operators-ca, --operators-cert and --operators-name are for the site of operators", "say where it is: --operators HOST:PORT"}
		}
		return nil
	}
	if f.tokens == "" && f.ca == "" {
		return &usageError{"--operators without --operators-tokens and --operators-ca lets nobody in", "make a token: k8snode token NAME --role operator --tokens FILE"}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return &usageError{fmt.Sprintf("--operators %s: it is not HOST:PORT", f.listen), "use :8443 for all addresses of this machine"}
	}
	return nil
}

// A siteRequest is what the site shows.
type siteRequest struct {
	env     Env
	cluster cluster.Cluster
	bundle  pki.Bundle
	server  *provision.Server
	audit   string
}

// open makes the sides of the server that the flags ask for.
func (f siteFlags) open(r siteRequest) ([]provision.Side, error) {
	if f.listen == "" {
		return nil, nil
	}
	certificate, err := f.certificate(r)
	if err != nil {
		return nil, err
	}
	who := access.Options{}
	if f.ca != "" {
		if who.ClientCAs, err = authorities(f.ca); err != nil {
			return nil, fmt.Errorf("reading the authority of the operators: %w", err)
		}
	}
	if f.tokens != "" {
		tokens, err := access.OpenTokens(f.tokens)
		if err != nil {
			return nil, err
		}
		who.Tokens = tokens.Tokens
	}
	path, err := filepath.Abs(r.audit)
	if err != nil {
		return nil, err
	}
	s, err := site.New(site.Options{
		Backend: r.server, Images: r.server.OperatorImages(), Record: r.server.Audit, Trail: ui.NewTrail(path, r.env.Now),
		Access: who, Certificate: certificate, Cluster: r.cluster.Metadata.Name,
		Counted: metrics.Options{Version: version(), PerNode: f.perNode},
		Now:     r.env.Now, Rand: r.env.Rand, Logger: r.env.logger(),
	})
	if err != nil {
		return nil, err
	}
	r.server.Observe(s.Metrics())
	return []provision.Side{{Name: "operators", Listen: f.listen, Handler: s.Handler(), TLS: s.TLS()}}, nil
}

// certificate is the one that the flags name, or one of the provisioning
// authority's.
func (f siteFlags) certificate(r siteRequest) (tls.Certificate, error) {
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("reading the certificate of the operators' site, %s and %s: %w", f.cert, f.key, err)
		}
		return pair, nil
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return tls.Certificate{}, err
	}
	site := pki.Site{Names: append([]string{"localhost"}, f.names...)}
	for _, text := range []string{"127.0.0.1", "::1", cmp.Or(host, r.cluster.Spec.Provision.Address), r.cluster.Spec.Provision.Address} {
		if addr, err := netip.ParseAddr(text); err == nil && !addr.IsUnspecified() {
			site.Addresses = append(site.Addresses, addr)
		} else if err != nil {
			site.Names = append(site.Names, text)
		}
	}
	pair, err := r.bundle.OperatorSite(site, pki.Options{Now: r.env.Now(), Rand: r.env.Rand})
	if err != nil {
		return tls.Certificate{}, err
	}
	certificate, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("loading the certificate of the operators' site: %w", err)
	}
	return certificate, nil
}
