package etcdstore

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Schemes of a URL.
const (
	schemePlain = "etcd"
	schemeTLS   = "etcds"
)

var prefixRE = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+$`)

// An Address is where a store is.
type Address struct {
	// Endpoints are client URLs of etcd.
	Endpoints []string
	// Prefix begins every key, without a slash at its end.
	Prefix string
	// TLS says that the endpoints are reached by TLS only.
	TLS bool
}

// ParseURL reads etcds://HOST:PORT,HOST:PORT/PREFIX. The scheme etcd is without
// TLS, and only for members on this machine: the store holds what decides who
// gets the secrets of nodes.
func ParseURL(text string) (Address, error) {
	a, err := parseURL(text)
	if err != nil {
		return Address{}, fmt.Errorf("reading the URL of a store %q: %w", text, err)
	}
	return a, nil
}

func parseURL(text string) (Address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != schemePlain && scheme != schemeTLS {
		return Address{}, fmt.Errorf("it is not of the form %s://HOST:PORT,HOST:PORT/PREFIX", schemeTLS)
	}
	hosts, prefix, _ := strings.Cut(rest, "/")
	if prefix == "" {
		prefix = "k8snode"
	}
	a := Address{Prefix: "/" + strings.TrimSuffix(prefix, "/"), TLS: scheme == schemeTLS}
	if !prefixRE.MatchString(a.Prefix) || strings.Contains(a.Prefix, "..") {
		return Address{}, fmt.Errorf("%q is not a prefix of keys: letters, digits, dots, hyphens and slashes", a.Prefix)
	}
	seen := map[string]bool{}
	for _, hostPort := range strings.Split(hosts, ",") {
		host, port, err := net.SplitHostPort(hostPort)
		if err != nil || host == "" || !isPort(port) || !isHost(host) {
			return Address{}, fmt.Errorf("%q is not HOST:PORT", hostPort)
		}
		if seen[hostPort] {
			return Address{}, fmt.Errorf("%s is there twice", hostPort)
		}
		seen[hostPort] = true
		if !a.TLS && !isLoopback(host) {
			return Address{}, fmt.Errorf("%s is not on this machine: use %s:// and certificates", host, schemeTLS)
		}
		endpoint := url.URL{Scheme: "http", Host: hostPort}
		if a.TLS {
			endpoint.Scheme = "https"
		}
		a.Endpoints = append(a.Endpoints, endpoint.String())
	}
	return a, nil
}

var (
	hostRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	portRE = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
)

func isPort(text string) bool { return portRE.MatchString(text) && (len(text) < 5 || text <= "65535") }

func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	return len(text) <= 253 && hostRE.MatchString(text)
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
