package butane_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
)

// A rendered is the document of one node, to be asked.
type rendered struct {
	t    *testing.T
	node cluster.Node
	butane.Document
}

// text returns the content of a file.
func (r rendered) text(path string) string {
	r.t.Helper()
	f, ok := r.File(path)
	if !ok {
		r.t.Errorf("%s has no %s", r.node.Name, path)
	}
	return f.Contents.Inline
}

// none fails if a file has what the pattern says.
func (r rendered) none(pattern string, paths ...string) {
	r.t.Helper()
	for _, p := range paths {
		if found := regexp.MustCompile(pattern).FindString(r.text(p)); found != "" {
			r.t.Errorf("%s of %s has %q", p, r.node.Name, found)
		}
	}
}

// all fails unless a file has what each pattern says.
func (r rendered) all(path string, patterns ...string) {
	r.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(r.text(path)) {
			r.t.Errorf("%s of %s has no %s", path, r.node.Name, p)
		}
	}
}

func (r rendered) certificate(path string) *x509.Certificate {
	r.t.Helper()
	block, _ := pem.Decode([]byte(r.text(path)))
	if block == nil {
		r.t.Fatalf("%s is no certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

const (
	haproxyFile    = "/etc/haproxy/haproxy.cfg"
	keepalivedFile = "/etc/keepalived/keepalived.conf"
	initFile       = "/etc/k8snode/kubeadm/init.yaml"
	joinFile       = "/etc/k8snode/kubeadm/join.yaml"
	etcdFile       = "/etc/etcd/main.env"
)

// TestGuideMistakes has the mistakes of the hand-run guide that k8snode
// replaces, each as a check that its own files do not have it.
func TestGuideMistakes(t *testing.T) {
	c := guide(t)
	var controlPlanes, all []rendered
	for _, n := range c.Spec.Nodes {
		in := newInput(t, c, n.Name)
		in.Manifests = [][]byte{[]byte("apiVersion: v1\nkind: Namespace\n")}
		r := rendered{t, n, generate(t, in)}
		all = append(all, r)
		if n.Role == cluster.ControlPlane {
			controlPlanes = append(controlPlanes, r)
		}
	}
	for name, check := range map[string]func(rendered){
		"haproxy listens where the API server does": func(r rendered) {
			r.none(`bind \S*:6443`, haproxyFile)
			r.all(haproxyFile, `bind \*:8443`)
			r.none(`bind-address`, initFile)
		},
		"three endpoints for one cluster": func(r rendered) {
			r.all(initFile, `controlPlaneEndpoint: api\.cs1\.example\.org:8443`)
			r.all("/etc/k8snode/node.json", `"endpoint": "https://api\.cs1\.example\.org:8443"`)
			r.all("/etc/hosts", `(?m)^172\.29\.33\.230 api\.cs1\.example\.org$`)
			r.all(keepalivedFile, `172\.29\.33\.230/32`)
		},
		"one advertise address for every control plane": func(r rendered) {
			r.none(`advertise-address`, initFile)
			for _, f := range []string{initFile, joinFile} {
				r.all(f, `advertiseAddress: `+regexp.QuoteMeta(r.node.IP().String())+`\n`)
			}
		},
		"comments in JSON": func(r rendered) {
			for _, f := range r.Storage.Files {
				if ext := path.Ext(f.Path); ext == ".json" || ext == ".conflist" {
					if !json.Valid([]byte(f.Contents.Inline)) {
						r.t.Errorf("%s is no JSON", f.Path)
					}
				}
			}
		},
		"what a shell put in": func(r rendered) {
			for _, u := range r.Systemd.Units {
				if strings.Contains(u.Contents, "-s HUP \n") || strings.Contains(u.Contents, "'''") {
					r.t.Errorf("%s:\n%s", u.Name, u.Contents)
				}
			}
		},
		"a setting of etcd twice, or empty": func(r rendered) {
			seen := map[string]bool{}
			for line := range strings.Lines(r.text(etcdFile)) {
				key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
				if !ok || value == "" || seen[key] {
					r.t.Errorf("line %q", line)
				}
				seen[key] = true
			}
			if !seen["ETCD_QUOTA_BACKEND_BYTES"] || !seen["ETCD_HEARTBEAT_INTERVAL"] {
				r.t.Error("settings are lost")
			}
		},
		"a baked initial cluster": func(r rendered) {
			r.none(`ETCD_INITIAL_CLUSTER(_STATE)?=`, etcdFile)
			r.all(etcdFile, `ETCD_INITIAL_CLUSTER_TOKEN=[0-9a-f-]{36}-1-main\n`)
		},
		"removed flags of etcd": func(r rendered) {
			r.none(`(?i)experimental|enable_v2|proxy|snapshot_count|max_request_bytes`, etcdFile)
		},
		"etcd without the loopback": func(r rendered) {
			r.all(etcdFile, `ETCD_LISTEN_CLIENT_URLS=\S+,https://127\.0\.0\.1:2379`)
		},
		"an empty node-ip": func(r rendered) {
			for _, f := range []string{initFile, joinFile} {
				r.all(f, `name: node-ip\n\s+value: `+regexp.QuoteMeta(r.node.IP().String())+`\n`)
			}
		},
		"removed flags of the kubelet": func(r rendered) {
			r.none(`pod-infra-container-image|allow-privileged|image-pull-progress-deadline|pod-manifest-path|rotate-certificates|----`, initFile, joinFile)
		},
		"serverTLSBootstrap in another document": func(r rendered) {
			for part := range strings.SplitSeq(r.text(initFile), "\n---\n") {
				var d map[string]any
				if err := yaml.Unmarshal([]byte(part), &d); err != nil {
					r.t.Fatal(err)
				}
				if _, has := d["serverTLSBootstrap"]; has && d["kind"] != "KubeletConfiguration" {
					r.t.Errorf("it is in %v", d["kind"])
				}
			}
		},
		"a node among its own peers": func(r rendered) {
			peers := regexp.MustCompile(`(?s)unicast_peer \{(.*?)\}`).FindStringSubmatch(r.text(keepalivedFile))
			if peers == nil {
				r.t.Fatal("no peers")
			}
			fields := strings.Fields(peers[1])
			if len(fields) != 2 || slices.Contains(fields, r.node.IP().String()) {
				r.t.Errorf("peers of %s are %v", r.node.IP(), fields)
			}
			r.all(keepalivedFile, `unicast_src_ip `+regexp.QuoteMeta(r.node.IP().String())+`\n`)
		},
		"a VIP that does not move": func(r rendered) {
			r.all(keepalivedFile, `track_script \{\n\s+haproxy\n`, `state BACKUP`)
			// A weight would leave a broken holder alone in the mode nopreempt.
			r.none(`state MASTER|(?m)^\s+weight`, keepalivedFile)
		},
		"a password from an example": func(r rendered) {
			r.none(`auth_pass (1111|d0cker)\b`, keepalivedFile)
			r.all(keepalivedFile, `auth_pass [A-Za-z0-9]{8}\n`)
			if f, _ := r.File(keepalivedFile); f.Mode != 0o600 {
				r.t.Errorf("mode %o", f.Mode)
			}
		},
		"statistics for everybody": func(r rendered) {
			r.none(`stats admin|stats auth|bind (\*|0\.0\.0\.0|):(8404|9090)`, haproxyFile)
		},
		"a check that a dead API server passes": func(r rendered) {
			r.all(haproxyFile, `uri /readyz`, `check-ssl verify required`, `on-marked-down shutdown-sessions`)
		},
		"timeouts that cut kubectl logs": func(r rendered) {
			r.none(`timeout (client|server) ([0-9]{1,3}s|[0-9]ms)`, haproxyFile)
		},
		"certificates with the name of another host": func(r rendered) {
			for _, name := range []string{"server", "peer"} {
				cert := r.certificate("/etc/etcd/pki/" + name + ".crt")
				if cert.Subject.CommonName != r.node.Name || !slices.Equal(cert.DNSNames, []string{r.node.Name, "localhost"}) {
					r.t.Errorf("%s of %s is for %s, %v", name, r.node.Name, cert.Subject.CommonName, cert.DNSNames)
				}
				for _, other := range c.ControlPlanes() {
					own := other.Name == r.node.Name
					if err := cert.VerifyHostname(other.IP().String()); (err == nil) != own {
						r.t.Errorf("%s of %s: %s: %v", name, r.node.Name, other.Name, err)
					}
				}
			}
		},
		"names that are none": func(r rendered) {
			r.none(`InterfaceX|hostname_1`, initFile, joinFile)
		},
		"a fixed token, or one that lives for a day": func(r rendered) {
			r.none(`token:|certificateKey`, initFile, joinFile)
		},
		"certificates of one year": func(r rendered) {
			r.all(initFile, `certificateValidityPeriod: 87600h0m0s`)
			cert := r.certificate("/etc/etcd/pki/server.crt")
			if years := cert.NotAfter.Sub(cert.NotBefore).Hours() / 8760; years < 9.8 {
				r.t.Errorf("that of etcd ends after %.1f years", years)
			}
		},
		"the key of etcd's authority on a node": func(r rendered) {
			if _, has := r.File("/etc/k8snode/pki/etcd/ca.key"); has {
				r.t.Error("it is there")
			}
		},
		"sysctls that the next boot forgets": func(r rendered) {
			r.all("/etc/sysctl.d/95-cluster.conf", `fs\.pipe-max-size = 16777216`)
		},
		"old documents of kubeadm": func(r rendered) {
			r.none(`kubeadm\.k8s\.io/v1beta[123]\b|useHyperKubeImage|timeoutForControlPlane`, initFile, joinFile)
		},
		"the old name of a flag": func(r rendered) {
			r.none(`experimental-cluster-signing-duration`, initFile)
			r.all(initFile, `name: cluster-signing-duration`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range controlPlanes {
				r.t = t
				check(r)
			}
		})
	}
	t.Run("equal priorities", func(t *testing.T) {
		seen := map[string]bool{}
		for _, r := range controlPlanes {
			p := regexp.MustCompile(`priority (\d+)`).FindString(r.text(keepalivedFile))
			if p == "" || seen[p] || p == "priority 255" {
				t.Errorf("%s has %q", r.node.Name, p)
			}
			seen[p] = true
		}
	})
	t.Run("pods inside of the services", func(t *testing.T) {
		pods, services := netip.MustParsePrefix(c.Spec.Kubernetes.PodSubnet), netip.MustParsePrefix(c.Spec.Kubernetes.ServiceSubnet)
		if pods.Overlaps(services) {
			t.Errorf("%s overlaps %s", pods, services)
		}
		bad := c
		bad.Spec.Kubernetes.PodSubnet, bad.Spec.Kubernetes.ServiceSubnet = "10.100.0.0/16", "10.96.0.0/12"
		if problems := bad.Validate().Error(); !strings.Contains(problems, "overlaps the pod subnet 10.100.0.0/16") {
			t.Errorf("the guide's subnets are taken: %s", problems)
		}
	})
	t.Run("files for others to read", func(t *testing.T) {
		for _, r := range all {
			for _, f := range r.Storage.Files {
				secret := strings.Contains(f.Contents.Inline, "PRIVATE KEY") || strings.Contains(f.Contents.Inline, "client-key-data")
				if secret && f.Mode&0o077 != 0 {
					t.Errorf("%s of %s has mode %o", f.Path, r.node.Name, f.Mode)
				}
				for _, folder := range []string{"/etc/kubernetes/", "/tmp/", "/etc/fstab", "/etc/rc.local"} {
					if strings.HasPrefix(f.Path, folder) {
						t.Errorf("%s has %s", r.node.Name, f.Path)
					}
				}
			}
		}
	})
	t.Run("a network mount that stops the boot", func(t *testing.T) {
		worker := all[len(all)-1]
		for _, u := range worker.Systemd.Units {
			if u.Name != "var-data-cephfs.mount" {
				continue
			}
			for _, want := range []string{"Where=/var/data/cephfs\n", "nofail", "_netdev", "After=network-online.target", "WantedBy=multi-user.target"} {
				if !strings.Contains(u.Contents, want) {
					t.Errorf("no %s in:\n%s", want, u.Contents)
				}
			}
			if strings.Contains(u.Contents, "local-fs") {
				t.Error("local file systems wait for it")
			}
			return
		}
		t.Error("it is not there")
	})
}
