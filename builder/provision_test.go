package builder_test

import (
	"slices"
	"testing"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
)

// A root that was changed makes another image, named after what changed; what
// is made before the change keeps its keys.
func TestProvisionedPlan(t *testing.T) {
	plain := plan(t, recipe(), lock(recipe()), host, folder())
	change := images.Change{Change: images.ChangeAdded, InstalledFile: images.InstalledFile{Path: "/etc/x", SHA256: "aa"}}
	one, err := plain.Provisioned([]images.Change{change})
	if err != nil {
		t.Fatal(err)
	}
	change.SHA256 = "bb"
	two, err := plain.Provisioned([]images.Change{change})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{plain.ID, one.ID, two.ID}
	guids := []string{plain.Disk.Info.GUID, one.Disk.Info.GUID, two.Disk.Info.GUID}
	for _, list := range [][]string{ids, guids} {
		if slices.Sort(list); len(slices.Compact(list)) != 3 {
			t.Errorf("not three: %v", list)
		}
	}
	again, err := plain.Provisioned([]images.Change{{Change: images.ChangeAdded, InstalledFile: images.InstalledFile{Path: "/etc/x", SHA256: "aa"}}})
	if err != nil || again.ID != one.ID {
		t.Errorf("the same change: %s, %v, want %s", again.ID, err, one.ID)
	}
	keys := func(p builder.Plan) map[string]string {
		all := map[string]string{}
		for _, s := range p.Steps {
			all[s.Name] = s.Key
		}
		return all
	}
	before, after := keys(plain), keys(one)
	if before["base"] != after["base"] || before["boot"] == after["boot"] || after["layer provisioned"] == "" || after["layer base"] != "" {
		t.Errorf("steps before %v\nand after %v", before, after)
	}
	if len(keys(plan(t, recipe(), lock(recipe()), host, folder()))) != len(before) {
		t.Error("the plan was edited in place")
	}
}
