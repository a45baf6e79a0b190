package butane_test

import (
	"net/netip"
	"testing"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/ignition/render"
)

// BenchmarkThousand makes the config of one node of a thousand.
func BenchmarkThousand(b *testing.B) {
	text, err := cluster.Example(cluster.ExampleOptions{
		Name: "large", Version: "v1.37.2", ControlPlanes: 3, Workers: 997, Network: netip.MustParsePrefix("10.64.0.0/16"),
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := cluster.Parse("large.yaml", text)
	if err != nil {
		b.Fatal(err)
	}
	in := newInput(b, c, "w1")
	b.Run("generate", func(b *testing.B) {
		for b.Loop() {
			generate(b, in)
		}
	})
	d := generate(b, in)
	b.Run("marshal", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Marshal(); err != nil {
				b.Fatal(err)
			}
		}
	})
	content, err := d.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("render", func(b *testing.B) {
		for b.Loop() {
			config, err := render.Render("w1.bu", content)
			if err != nil {
				b.Fatal(err)
			}
			if err := check.Check(config.Bytes(), "3.6.0"); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(len(content)))
	})

}
