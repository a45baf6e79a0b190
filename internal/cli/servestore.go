package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/store/boltstore"
	"github.com/k8snode/k8snode/provision/store/etcdstore"
)

// storeFlags say where a server keeps its nodes.
type storeFlags struct {
	url, ca, cert, key string
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "store", "", "where nodes are kept for several servers: etcds://HOST:PORT,…/PREFIX (default: a file in --data, for one)")
	cmd.Flags().StringVar(&f.ca, "store-ca", "", "authority of the store's etcd, PEM")
	cmd.Flags().StringVar(&f.cert, "store-cert", "", "certificate that the store's etcd is shown, PEM")
	cmd.Flags().StringVar(&f.key, "store-key", "", "key of that certificate, PEM")
}

// A closingStore is a store that this process opened.
type closingStore interface {
	store.Store
	Close() error
}

// open opens the store that the flags name, or the file in a folder.
func (f storeFlags) open(ctx context.Context, data, clusterID string) (closingStore, error) {
	if f.url == "" {
		if f.ca != "" || f.cert != "" || f.key != "" {
			return nil, &usageError{"--store-ca, --store-cert and --store-key are for a store in etcd", "name it: --store etcds://HOST:PORT/PREFIX"}
		}
		return boltstore.Open(filepath.Join(data, nodesFile), clusterID)
	}
	address, err := etcdstore.ParseURL(f.url)
	if err != nil {
		return nil, &usageError{err.Error(), ""}
	}
	opts := etcdstore.Options{Address: address, ClusterID: clusterID}
	if address.TLS {
		if opts.Config, err = f.config(); err != nil {
			return nil, err
		}
	}
	return etcdstore.Open(ctx, opts)
}

func (f storeFlags) config() (*tls.Config, error) {
	if f.ca == "" || f.cert == "" || f.key == "" {
		return nil, &usageError{"a store by TLS needs --store-ca, --store-cert and --store-key", ""}
	}
	ca, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("reading the authority of the store: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading the authority of the store: %s holds no certificate", f.ca)
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate for the store, %s and %s: %w", f.cert, f.key, err)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, nil
}
