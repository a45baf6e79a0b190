package cli_test

import (
	"io/fs"
	"testing"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/images"
)

// The boot side repeats words of the image, which it must not import. This is
// where both meet.
func TestBootAndBakeAgree(t *testing.T) {
	for _, label := range []struct{ boot, bake string }{
		{butane.LabelState, images.LabelState},
		{butane.LabelEtcd, images.LabelEtcd},
		{butane.LabelContainers, images.LabelContainers},
	} {
		if label.boot != label.bake {
			t.Errorf("butane makes the partition %q, the image expects %q", label.boot, label.bake)
		}
	}
	folder, file, err := images.Open("node")
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(folder, file)
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := images.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range recipe.Spec.Users {
		if user.Name != "etcd" {
			continue
		}
		if user.UID != butane.EtcdID {
			t.Errorf("the recipe has uid %d for etcd, butane %d", user.UID, butane.EtcdID)
		}
		return
	}
	t.Error("the recipe has no user etcd")
}
