package stub_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/ignition/stub"
)

func bundle(t *testing.T) (pki.Bundle, pki.Options) {
	t.Helper()
	opts := pki.Options{Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Rand: rand.NewChaCha8([32]byte{1})}
	b, err := pki.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return b, opts
}

func TestStub(t *testing.T) {
	b, _ := bundle(t)
	content, err := stub.Stub(stub.Options{
		URL:   "https://192.168.7.1:8443/v1/config",
		CA:    b.Provision.Certificate,
		Token: "dG9rZW4",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := check.Check(content, "3.4.0"); err != nil {
		t.Error(err)
	}
	want := map[string]any{"ignition": map[string]any{
		"version": "3.4.0",
		"config": map[string]any{"replace": map[string]any{
			"source": "https://192.168.7.1:8443/v1/config",
			"httpHeaders": []any{
				map[string]any{"name": "Authorization", "value": "Bearer dG9rZW4"},
			},
		}},
		"security": map[string]any{"tls": map[string]any{"certificateAuthorities": []any{
			map[string]any{"source": "data:;base64," + base64.StdEncoding.EncodeToString([]byte(b.Provision.Certificate))},
		}}},
	}}
	var got map[string]any
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stub (-want +got):\n%s", diff)
	}
}

func TestStubErrors(t *testing.T) {
	b, opts := bundle(t)
	server, err := b.ProvisionServer(netip.MustParseAddr("192.168.7.1"), opts)
	if err != nil {
		t.Fatal(err)
	}
	good := stub.Options{URL: "https://192.168.7.1:8443/v1/config", CA: b.Provision.Certificate, Token: "dG9rZW4"}
	tests := []struct {
		name string
		edit func(*stub.Options)
		want string
	}{
		{"no URL", func(o *stub.Options) { o.URL = "" }, `URL of scheme "" is not https`},
		{"plain HTTP", func(o *stub.Options) { o.URL = "http://192.168.7.1/v1/config" }, `URL of scheme "http" is not https`},
		{"no host", func(o *stub.Options) { o.URL = "https:///v1/config" }, "URL has no host"},
		{"token in the URL", func(o *stub.Options) { o.URL += "?token=x" }, "URL has credentials, a query or a fragment; Ignition logs URLs"},
		{"password in the URL", func(o *stub.Options) { o.URL = "https://a:b@192.168.7.1/" }, "URL has credentials, a query or a fragment; Ignition logs URLs"},
		{"no URL at all", func(o *stub.Options) { o.URL = "https://[::1" }, "URL cannot be parsed"},
		{"no authority", func(o *stub.Options) { o.CA = "" }, "authority has no certificate"},
		{"a key", func(o *stub.Options) { o.CA += b.Provision.Key }, "authority has a block \"EC PRIVATE KEY\", want only certificates"},
		{"a leaf", func(o *stub.Options) { o.CA = server.Certificate }, `certificate of "k8snode-provision" is not an authority`},
		{"no token", func(o *stub.Options) { o.Token = "" }, "token is empty or has characters that a bearer token cannot have"},
		{"two headers", func(o *stub.Options) { o.Token = "x\r\nHost: y" }, "token is empty or has characters that a bearer token cannot have"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := good
			test.edit(&opts)
			content, err := stub.Stub(opts)
			if want := "making the stub config: " + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
			if content != nil {
				t.Errorf("a stub was made: %s", content)
			}
		})
	}
}
