package etcdstore_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/store/etcdstore"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]etcdstore.Address{
		"etcd://127.0.0.1:2379": {Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/k8snode"},
		"etcd://localhost:2379,[::1]:2380/rack1/": {
			Endpoints: []string{"http://localhost:2379", "http://[::1]:2380"}, Prefix: "/rack1",
		},
		"etcds://a.example:2379,10.0.0.2:2379/sites/b_1": {
			Endpoints: []string{"https://a.example:2379", "https://10.0.0.2:2379"}, Prefix: "/sites/b_1", TLS: true,
		},
	} {
		got, err := etcdstore.ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"":                                   "it is not of the form etcds://HOST:PORT,HOST:PORT/PREFIX",
		"http://127.0.0.1:2379":              "it is not of the form etcds://HOST:PORT,HOST:PORT/PREFIX",
		"etcd://":                            `"" is not HOST:PORT`,
		"etcds://a":                          `"a" is not HOST:PORT`,
		"etcds://a:0":                        `"a:0" is not HOST:PORT`,
		"etcds://a:65536":                    `"a:65536" is not HOST:PORT`,
		"etcds://user@a:2379":                `"user@a:2379" is not HOST:PORT`,
		"etcds://a:2379,":                    `"" is not HOST:PORT`,
		"etcds://a:2379,a:2379":              "a:2379 is there twice",
		"etcd://10.0.0.2:2379":               "10.0.0.2 is not on this machine: use etcds:// and certificates",
		"etcds://a:2379//":                   `"/" is not a prefix of keys: letters, digits, dots, hyphens and slashes`,
		"etcds://a:2379/a/../b":              `"/a/../b" is not a prefix of keys: letters, digits, dots, hyphens and slashes`,
		"etcds://a:2379/registry?watch=true": `"/registry?watch=true" is not a prefix of keys: letters, digits, dots, hyphens and slashes`,
	} {
		_, err := etcdstore.ParseURL(text)
		if want = `reading the URL of a store "` + text + `": ` + want; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("etcds://a.example:2379,10.0.0.2:2379/sites/b_1")
	f.Add("etcd://[::1]:2379")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := etcdstore.ParseURL(text)
		if err != nil {
			return
		}
		if len(a.Endpoints) == 0 || !strings.HasPrefix(a.Prefix, "/") || strings.HasSuffix(a.Prefix, "/") {
			t.Errorf("%q: %+v", text, a)
		}
		for _, endpoint := range a.Endpoints {
			u, err := url.Parse(endpoint)
			if err != nil || u.Port() == "" || u.User != nil || (u.Scheme == "https") != a.TLS {
				t.Errorf("%q: endpoint %q, %v", text, endpoint, err)
			}
		}
	})
}
