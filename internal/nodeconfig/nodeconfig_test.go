package nodeconfig_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

func lab(t *testing.T) (cluster.Cluster, string) {
	t.Helper()
	file := filepath.Join("..", "lab", "wholepath", "cluster.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

func image(maxSpec string) images.Manifest {
	return images.Manifest{ID: "3f2a", Kubernetes: "v1.37.2", Ignition: images.Ignition{Version: "v2.26.0", MaxSpec: maxSpec}}
}

// A config is one for the Ignition in the image, or none.
func TestRender(t *testing.T) {
	c, _ := lab(t)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	bundle, err := pki.New(pki.Options{Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	o := nodeconfig.Options{Cluster: c, Bundle: bundle, Image: image("3.6.0"), Node: "cp1", ReportToken: "report", NewCluster: true, Now: now, Rand: rand.Reader}
	config, err := nodeconfig.Render(o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(config.Butane), "https://10.77.0.1:") || !strings.HasPrefix(string(config.Ignition.Bytes()), `{"ignition":{`) {
		t.Errorf("%.300s\n%.300s", config.Butane, config.Ignition.Bytes())
	}
	// The control plane may begin a cluster, for a while; a worker never.
	o.Node = "w1"
	worker, err := nodeconfig.Render(o)
	if err != nil {
		t.Fatal(err)
	}
	const until = "2026-11-01T02:00:00Z"
	if !strings.Contains(string(config.Butane), until) || strings.Contains(string(worker.Butane), until) {
		t.Errorf("the genesis window of cp1 or w1 is wrong")
	}
	// All at once, in the order asked for.
	all, err := nodeconfig.RenderAll(o, []string{"w1", "cp1"})
	if err != nil || len(all) != 2 || !strings.Contains(string(all[1].Butane), until) || strings.Contains(string(all[0].Butane), until) {
		t.Errorf("rendering all: %d configs, %v", len(all), err)
	}
	if _, err := nodeconfig.RenderAll(o, []string{"w1", "w8", "w9"}); err == nil || !strings.HasPrefix(err.Error(), "generating the config of w8: ") {
		t.Errorf("an unknown node: %v", err)
	}
	o.Image = image("3.2.0")
	if _, err := nodeconfig.Render(o); err == nil || !strings.HasPrefix(err.Error(), "checking the config of w1 against Ignition v2.26.0: ") {
		t.Errorf("an older Ignition: %v", err)
	}
	o.Node = "w9"
	if _, err := nodeconfig.Render(o); err == nil || !strings.HasPrefix(err.Error(), "generating the config of w9: ") {
		t.Errorf("an unknown node: %v", err)
	}
}

func TestFits(t *testing.T) {
	c, _ := lab(t)
	for have, want := range map[string]string{
		"v1.37.2": "",
		"v1.36.0": "image x has Kubernetes v1.36.0, the cluster document asks for v1.37.2: correct spec.kubernetes.version, or bake another image",
		"":        "image x has no Kubernetes, the cluster document asks for v1.37.2: correct spec.kubernetes.version, or bake another image",
	} {
		err := nodeconfig.Fits("image x", images.Manifest{Kubernetes: have}, c)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%q: %v", have, err)
		}
	}
}

// The passphrase is asked for when it is of use, not before.
func TestLoad(t *testing.T) {
	_, file := lab(t)
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets.age")
	asked := 0
	ask := func() (string, error) { asked++; return "wrong", nil }
	if _, _, err := nodeconfig.Load(filepath.Join(dir, "none.yaml"), secrets, nodeconfig.WithPassphrase(ask)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no document: %v", err)
	}
	if _, _, err := nodeconfig.Load(file, secrets, nodeconfig.WithPassphrase(ask)); err == nil || !strings.HasSuffix(err.Error(), `make them with "k8snode secrets init"`) {
		t.Errorf("no secrets: %v", err)
	}
	if asked != 0 {
		t.Error("asked for a passphrase of nothing")
	}
	if err := os.WriteFile(secrets, []byte("no age file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := nodeconfig.Load(file, secrets, nodeconfig.WithPassphrase(ask)); err == nil || !strings.HasPrefix(err.Error(), "reading "+secrets+": ") || asked != 1 {
		t.Errorf("no secrets in the file: %v, asked %d times", err, asked)
	}
	if _, err := nodeconfig.OpenImage(dir, cluster.Cluster{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
}
