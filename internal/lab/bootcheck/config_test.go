package bootcheck_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/bootcheck"
)

// newestSpec is what the Ignition of the image reads.
const newestSpec = "3.6.0"

// config is what the tests look at.
type config struct {
	Ignition struct {
		Config struct {
			Merge []resource `json:"merge"`
		} `json:"config"`
	} `json:"ignition"`
	Storage struct {
		Files []struct {
			Path     string   `json:"path"`
			Contents resource `json:"contents"`
		} `json:"files"`
	} `json:"storage"`
	Systemd struct {
		Units []struct {
			Name    string `json:"name"`
			Enabled bool   `json:"enabled"`
		} `json:"units"`
	} `json:"systemd"`
}

type resource struct {
	Source string `json:"source"`
}

func (r resource) content(t *testing.T) []byte {
	t.Helper()
	encoded, ok := strings.CutPrefix(r.Source, "data:;base64,")
	if !ok {
		t.Fatalf("%q is not in base64", r.Source)
	}
	content, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func parse(t *testing.T, document []byte) config {
	t.Helper()
	if err := check.Check(document, newestSpec); err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(document, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// files are the paths with their contents, those of the lab's script left out.
func (c config) files(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, f := range c.Storage.Files {
		files[f.Path] = string(f.Contents.content(t))
	}
	if files[lab.GuestScriptPath] != lab.GuestScript() {
		t.Errorf("%s is not the lab's script", lab.GuestScriptPath)
	}
	delete(files, lab.GuestScriptPath)
	if len(c.Systemd.Units) != 1 || c.Systemd.Units[0].Name != lab.GuestUnitName || !c.Systemd.Units[0].Enabled {
		t.Errorf("units %+v, want %s enabled", c.Systemd.Units, lab.GuestUnitName)
	}
	return files
}

func TestLiveConfig(t *testing.T) {
	document, err := bootcheck.LiveConfig("live")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"/etc/hostname": "live\n"}
	if diff := cmp.Diff(want, parse(t, document).files(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestDiskConfig(t *testing.T) {
	document, err := bootcheck.DiskConfig("lab")
	if err != nil {
		t.Fatal(err)
	}
	parts := parse(t, document).Ignition.Config.Merge
	if len(parts) != 2 {
		t.Fatalf("%d configs are merged, want 2", len(parts))
	}
	disk := parts[0].content(t)
	parse(t, disk)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, disk, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "disk.ign"), append(pretty.Bytes(), '\n'))
	want := map[string]string{"/etc/hostname": "lab\n"}
	if diff := cmp.Diff(want, parse(t, parts[1].content(t)).files(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestNodeConfig(t *testing.T) {
	rendered := []byte(`{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/k8snode/report.json"}]}}`)
	document, err := bootcheck.NodeConfig(rendered)
	if err != nil {
		t.Fatal(err)
	}
	parts := parse(t, document).Ignition.Config.Merge
	if len(parts) != 2 {
		t.Fatalf("%d configs are merged, want 2", len(parts))
	}
	if got := parts[0].content(t); !bytes.Equal(got, rendered) {
		t.Errorf("the rendered config became %s", got)
	}
	// The last config wins.
	want := map[string]string{"/etc/k8snode/report.json": "{}\n"}
	if diff := cmp.Diff(want, parse(t, parts[1].content(t)).files(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
