package butane_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/pki"
)

// TestAuthorityKeys asserts which private keys of the bundle each kind of node
// gets, in any file and in any encoding.
func TestAuthorityKeys(t *testing.T) {
	tests := []struct {
		node string
		want map[string][]string
	}{
		{"w1", map[string][]string{}},
		{"cp1", map[string][]string{
			"kubernetes":      {"/etc/k8snode/pki/ca.key"},
			"front proxy":     {"/etc/k8snode/pki/front-proxy-ca.key"},
			"service account": {"/etc/k8snode/pki/sa.key"},
		}},
	}
	for _, test := range tests {
		t.Run(test.node, func(t *testing.T) {
			in := newInput(t, routed(), test.node)
			got := map[string][]string{}
			for _, f := range generate(t, in).Storage.Files {
				for name, key := range map[string]string{
					"kubernetes":      in.Bundle.Kubernetes.Key,
					"front proxy":     in.Bundle.FrontProxy.Key,
					"etcd":            in.Bundle.Etcd.Key,
					"provision":       in.Bundle.Provision.Key,
					"service account": in.Bundle.ServiceAccount.Key,
				} {
					if holds(t, f.Contents.Inline, key) {
						got[name] = append(got[name], f.Path)
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("private keys of the bundle by file (-want +got):\n%s", diff)
			}
		})
	}
}

// holds reports whether text has the key as PEM, as PEM in JSON, or as base64
// of PEM.
func holds(t *testing.T, text, key string) bool {
	t.Helper()
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		t.Fatal("key is not PEM")
	}
	body := base64.StdEncoding.EncodeToString(block.Bytes)
	plain := func(s string) string {
		return strings.NewReplacer("\n", "", `\n`, "", " ", "").Replace(s)
	}
	if strings.Contains(plain(text), body) {
		return true
	}
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool {
		decoded, err := base64.StdEncoding.DecodeString(word)
		return err == nil && strings.Contains(plain(string(decoded)), body)
	})
}

// A private key, a token or a kubeadm document is readable by its owner only.
func TestModesOfSecrets(t *testing.T) {
	for _, node := range []string{"cp1", "w1"} {
		for _, f := range generate(t, newInput(t, routed(), node)).Storage.Files {
			secret := strings.Contains(f.Contents.Inline, "PRIVATE KEY") ||
				strings.Contains(f.Contents.Inline, "client-key-data") ||
				strings.Contains(f.Contents.Inline, `"token"`) ||
				strings.Contains(f.Path, "/kubeadm/")
			if secret && f.Mode != 0o600 {
				t.Errorf("%s: %s holds a secret and has mode %04o", node, f.Path, int(f.Mode))
			}
			if strings.HasPrefix(f.Path, "/etc/kubernetes/") {
				t.Errorf("%s: %s is where kubeadm refuses or removes files", node, f.Path)
			}
		}
	}
}

func TestEtcdCertificatesAreEtcds(t *testing.T) {
	d := generate(t, newInput(t, routed(), "cp1"))
	count := 0
	for _, f := range d.Storage.Files {
		if !strings.HasPrefix(f.Path, "/etc/etcd/pki/") {
			continue
		}
		count++
		want := &butane.Owner{ID: 62379}
		if diff := cmp.Diff([]*butane.Owner{want, want}, []*butane.Owner{f.User, f.Group}); diff != "" {
			t.Errorf("owners of %s (-want +got):\n%s", f.Path, diff)
		}
	}
	if count != 7 {
		t.Errorf("etcd has %d files, want 7", count)
	}
	server, _ := d.File("/etc/etcd/pki/server.crt")
	authority, _ := d.File("/etc/etcd/pki/ca.crt")
	verify(t, server.Contents.Inline, authority.Contents.Inline, x509.ExtKeyUsageServerAuth, now.Add(8760*time.Hour))
}

// TestDiscovery follows the way of kubeadm join: the certificate in the file
// must be signed by the authority in the file, for the endpoint.
func TestDiscovery(t *testing.T) {
	in := newInput(t, routed(), "w1")
	in.JoinValidity = 3 * time.Hour
	f, ok := generate(t, in).File("/etc/k8snode/discovery.conf")
	if !ok {
		t.Fatal("there is no discovery file")
	}
	k := parseKubeconfig(t, []byte(f.Contents.Inline))
	if got, want := k.server, "https://api.demo.example:6443"; got != want {
		t.Errorf("server is %s, want %s", got, want)
	}
	cert := verify(t, k.certificate, k.authority, x509.ExtKeyUsageClientAuth, now.Add(3*time.Hour))
	if got, want := cert.Subject.String(), "CN=system:bootstrap-image:w1,O=system:bootstrappers:kubeadm:default-node-token"; got != want {
		t.Errorf("subject is %s, want %s", got, want)
	}
}

func TestKubeconfig(t *testing.T) {
	b := newBundle(t)
	in := newInput(t, routed(), "cp1")
	content, err := butane.Kubeconfig(routed(), b, pki.Options{Now: now, Rand: in.Rand})
	if err != nil {
		t.Fatal(err)
	}
	k := parseKubeconfig(t, content)
	if k.server != "https://192.168.7.11:6443" || k.serverName != "api.demo.example" {
		t.Errorf("server is %s, named %s", k.server, k.serverName)
	}
	cert := verify(t, k.certificate, k.authority, x509.ExtKeyUsageClientAuth, now.Add(24*time.Hour))
	if got, want := cert.Subject.String(), "CN=kubernetes-admin,O=system:masters"; got != want {
		t.Errorf("subject is %s, want %s", got, want)
	}

	workers := routed()
	workers.Spec.Nodes = workers.Spec.Nodes[1:]
	_, err = butane.Kubeconfig(workers, b, pki.Options{Now: now, Rand: in.Rand})
	if want := `making the kubeconfig of cluster "demo": cluster has no control plane`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

type parsedKubeconfig struct {
	server, serverName, authority, certificate string
}

// parseKubeconfig reads what kubectl would use: the current context.
func parseKubeconfig(t *testing.T, content []byte) parsedKubeconfig {
	t.Helper()
	var k struct {
		APIVersion     string `yaml:"apiVersion"`
		Kind           string
		CurrentContext string `yaml:"current-context"`
		Contexts       []struct {
			Name    string
			Context struct{ Cluster, User string }
		}
		Clusters []struct {
			Name    string
			Cluster struct {
				Server     string
				ServerName string `yaml:"tls-server-name"`
				CA         string `yaml:"certificate-authority-data"`
			}
		}
		Users []struct {
			Name string
			User struct {
				Certificate string `yaml:"client-certificate-data"`
				Key         string `yaml:"client-key-data"`
			}
		}
	}
	if err := yaml.Unmarshal(content, &k); err != nil {
		t.Fatal(err)
	}
	if k.APIVersion != "v1" || k.Kind != "Config" || len(k.Contexts) != 1 || len(k.Clusters) != 1 || len(k.Users) != 1 {
		t.Fatalf("not a kubeconfig of one cluster and one user: %s", redact(content))
	}
	context := k.Contexts[0]
	if k.CurrentContext != context.Name || context.Context.Cluster != k.Clusters[0].Name || context.Context.User != k.Users[0].Name {
		t.Fatalf("the current context does not lead to the cluster and the user: %s", redact(content))
	}
	decode := func(text string) string {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(decoded)
	}
	if !strings.Contains(decode(k.Users[0].User.Key), "EC PRIVATE KEY") {
		t.Error("the user has no key")
	}
	c := k.Clusters[0].Cluster
	return parsedKubeconfig{c.Server, c.ServerName, decode(c.CA), decode(k.Users[0].User.Certificate)}
}

func verify(t *testing.T, certificate, authority string, usage x509.ExtKeyUsage, notAfter time.Time) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		t.Fatal("certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		t.Error(err)
	}
	if !cert.NotAfter.Equal(notAfter) {
		t.Errorf("certificate ends %s, want %s", cert.NotAfter, notAfter)
	}
	return cert
}

// What is rendered for review has no secret in it, of the bundle or minted.
func TestRedact(t *testing.T) {
	for _, name := range []string{"cs1-k8s-m1", "cs1-k8s-w1"} {
		in := newInput(t, guide(t), name)
		whole := generate(t, in)
		content, err := whole.Redact().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		secrets := []string{in.Bundle.KeepalivedPassword, in.Bundle.EncryptionKey, in.Report.Token}
		for _, f := range whole.Storage.Files {
			for _, m := range regexp.MustCompile(`(?s)PRIVATE KEY-----\n(.*?)\n-----END`).FindAllStringSubmatch(f.Contents.Inline, -1) {
				// The last lines are the public half of the key.
				secrets = append(secrets, strings.Split(m[1], "\n")[0])
			}
			for _, m := range regexp.MustCompile(`client-key-data: (\S+)`).FindAllStringSubmatch(f.Contents.Inline, -1) {
				secrets = append(secrets, m[1])
			}
		}
		if len(secrets) < 4 {
			t.Fatalf("%s: found %d secrets only", name, len(secrets))
		}
		for _, secret := range secrets {
			if strings.Contains(string(content), secret) {
				t.Errorf("%s: %q is left", name, secret)
			}
		}
		if again, err := whole.Marshal(); err != nil || !strings.Contains(string(again), in.Report.Token) {
			t.Errorf("%s: Redact changed its receiver: %v", name, err)
		}
	}
}
