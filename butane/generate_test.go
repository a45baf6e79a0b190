package butane_test

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/ignition/render"
	"github.com/k8snode/k8snode/internal/golden"
)

func TestGenerate(t *testing.T) {
	tests := []struct {
		name    string
		cluster cluster.Cluster
		node    string
		genesis bool
	}{
		{"routed", routed(), "cp1", false},
		{"routed", routed(), "w1", false},
		{"isolated", isolated(), "cp1", true},
		{"three", three(), "w1", false},
		{"guide", guide(t), "cs1-k8s-m2", false},
		{"guide", guide(t), "cs1-k8s-w1", false},
	}
	for _, test := range tests {
		t.Run(test.name+"/"+test.node, func(t *testing.T) {
			in := newInput(t, test.cluster, test.node)
			for range test.cluster.Spec.Manifests {
				in.Manifests = append(in.Manifests, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: cni}\n"))
			}
			if test.genesis {
				in.GenesisUntil = now.Add(2 * time.Hour)
			}
			content, err := generate(t, in).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			c, err := render.Render(test.node+".bu", content)
			if err != nil {
				t.Fatal(err)
			}
			if err := check.Check(c.Bytes(), "3.4.0"); err != nil {
				t.Error(err)
			}
			golden.Check(t, filepath.Join("testdata", test.name, test.node+".bu"), redact(content))
		})
	}
}

var (
	pemBody = regexp.MustCompile(`(-----BEGIN [A-Z ]+-----)[^-]*(-----END)`)
	keyData = regexp.MustCompile(`(-data: )\S+`)
)

// redact leaves out what nobody can review, and what would look like a leaked
// key to those who search for one.
func redact(content []byte) []byte {
	return keyData.ReplaceAll(pemBody.ReplaceAll(content, []byte("$1 redacted $2")), []byte("${1}redacted"))
}

func TestGenerateIsReproducible(t *testing.T) {
	marshal := func(in butane.Input) []byte {
		content, err := generate(t, in).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	first := marshal(newInput(t, routed(), "cp1"))
	if !bytes.Equal(first, marshal(newInput(t, routed(), "cp1"))) {
		t.Error("the same input gave two documents")
	}
	other := newInput(t, routed(), "cp1")
	other.Rand = strings.NewReader(strings.Repeat("other randomness", 100))
	if bytes.Equal(first, marshal(other)) {
		t.Error("other randomness gave the same document")
	}
}

func TestGenerateErrors(t *testing.T) {
	tests := []struct {
		name, node string
		edit       func(*butane.Input)
		want       string
	}{
		{"unknown node", "w9", func(*butane.Input) {}, `cluster "demo" has no such node`},
		{"invalid cluster", "w1", func(in *butane.Input) {
			in.Cluster.Spec.Nodes[1].Address = "192.168.7.21"
		}, `MAC "52:54:00:00:00:21" or address "192.168.7.21" is not valid; validate the cluster first`},
		{"no secrets", "w1", func(in *butane.Input) {
			in.Bundle.Kubernetes.Key = ""
		}, "secrets: authority kubernetes: private key is not one block of PEM"},
		{"no time", "w1", func(in *butane.Input) { in.Now = time.Time{} }, "internal error: no time or no source of randomness given"},
		{"report of another node", "w1", func(in *butane.Input) { in.Report.Node = "w2" }, `report configuration is that of node "w2"`},
		{"report without token", "w1", func(in *butane.Input) { in.Report.Token = "" }, "report configuration lacks server, authority or token"},
		{"genesis of a worker", "w1", func(in *butane.Input) { in.GenesisUntil = now.Add(time.Hour) }, "a worker cannot start the etcd cluster"},
		{"genesis too late", "cp1", func(in *butane.Input) { in.GenesisUntil = now }, "the time to start the etcd cluster ended 2026-11-22T12:00:00Z"},
		{"authorities expired", "cp1", func(in *butane.Input) {
			in.Now = now.AddDate(20, 0, 0)
		}, `minting certificate "cp1": authority has expired: etcd-ca, on 2036-10-19T12:00:00Z`},
		{"little randomness", "w1", func(in *butane.Input) {
			in.Rand = strings.NewReader("")
		}, `minting certificate "system:bootstrap-image:w1": reading randomness: EOF`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := newInput(t, routed(), test.node)
			test.edit(&in)
			_, err := butane.Generate(in)
			if want := `generating the document of node "` + test.node + `": ` + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}
