package images_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
)

func TestWithoutMirrors(t *testing.T) {
	r := images.Recipe{Spec: images.Spec{
		Mirrors:      map[string]string{"https://example.org": "http://127.0.0.1:1"},
		Distribution: images.Distribution{Suite: "trixie", Mirror: "http://mirror.example"},
	}}
	want := images.Recipe{Spec: images.Spec{Distribution: images.Distribution{Suite: "trixie"}}}
	if diff := cmp.Diff(want, r.WithoutMirrors()); diff != "" {
		t.Errorf("recipe (-want +got):\n%s", diff)
	}
	if len(r.Spec.Mirrors) != 1 || r.Spec.Distribution.Mirror == "" {
		t.Error("the receiver was changed")
	}
}
