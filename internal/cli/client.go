package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/admin"
)

// defaultSocket is where serve listens for the operator.
const defaultSocket = "run/k8snode.sock"

func addSocket(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", defaultSocket, "the server's socket for the operator")
}

// clientFlags say how the server is reached: by its socket, or by its site.
type clientFlags struct {
	socket, url, ca, tokenFile, cert, key string
}

func (f *clientFlags) add(cmd *cobra.Command) {
	addSocket(cmd, &f.socket)
	cmd.Flags().StringVar(&f.url, "server", "", "the server's site for operators, https://HOST:PORT, instead of its socket")
	cmd.Flags().StringVar(&f.ca, "server-ca", "", "authority of the site, PEM (default: those of this machine)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the token that the site is shown")
	cmd.Flags().StringVar(&f.cert, "cert", "", "certificate that the site is shown, instead of a token, PEM")
	cmd.Flags().StringVar(&f.key, "key", "", "key of that certificate, PEM")
	for _, other := range []string{"server", "server-ca", "token-file", "cert", "key"} {
		cmd.MarkFlagsMutuallyExclusive("socket", other)
	}
	cmd.MarkFlagsMutuallyExclusive("token-file", "cert")
	cmd.MarkFlagsRequiredTogether("cert", "key")
}

// open returns a client of the server. It does not ask it anything.
func (f clientFlags) open() (*admin.Client, error) {
	if f.url == "" {
		if f.ca+f.tokenFile+f.cert != "" {
			return nil, &usageError{"--server-ca, --token-file, --cert and --key are for the site of a server", "name it: --server https://HOST:PORT"}
		}
		return admin.NewClient(f.socket), nil
	}
	if f.tokenFile == "" && f.cert == "" {
		return nil, &usageError{"the site of a server lets nobody in who shows nothing", "use --token-file, or --cert and --key"}
	}
	remote := admin.Remote{URL: f.url, TLS: &tls.Config{MinVersion: tls.VersionTLS13}}
	if f.ca != "" {
		pool, err := authorities(f.ca)
		if err != nil {
			return nil, fmt.Errorf("reading the authority of the server: %w", err)
		}
		remote.TLS.RootCAs = pool
	}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		if remote.Token = strings.TrimSpace(string(token)); remote.Token == "" || strings.ContainsAny(remote.Token, " \t\r\n") {
			return nil, fmt.Errorf("reading the token: %s is not a file with one token; k8snode token prints one", f.tokenFile)
		}
	} else {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for the server, %s and %s: %w", f.cert, f.key, err)
		}
		remote.TLS.Certificates = []tls.Certificate{pair}
	}
	return admin.NewRemoteClient(remote)
}

// authorities reads certificates from a PEM file.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// reached says in an operator's words that there is no server.
func (f clientFlags) reached(err error) error {
	unknown := (*tls.CertificateVerificationError)(nil)
	switch {
	case f.url == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
		return fmt.Errorf("no server listens on %s: start \"k8snode serve\", or name its socket with --socket", f.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server listens on %s: start \"k8snode serve\" with --operators", f.url)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; name the authority that signed it with --server-ca", err)
	}
	return err
}
