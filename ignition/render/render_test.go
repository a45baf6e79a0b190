package render_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/ignition/render"
)

func TestRender(t *testing.T) {
	const document = `variant: flatcar
version: 1.1.0
storage:
  files:
    - path: /etc/hostname
      mode: 0644
      contents:
        inline: |
          cp1
`
	const want = `{
  "ignition": {
    "version": "3.4.0"
  },
  "storage": {
    "files": [
      {
        "contents": {
          "compression": "",
          "source": "data:,cp1%0A"
        },
        "mode": 420,
        "path": "/etc/hostname"
      }
    ]
  }
}`
	c, err := render.Render("cp1.bu", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, indent(t, c.Bytes())); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if c.Spec() != "3.4.0" {
		t.Errorf("spec is %s, want 3.4.0", c.Spec())
	}
}

func TestRenderErrors(t *testing.T) {
	const head = "variant: flatcar\nversion: 1.1.0\n"
	tests := []struct {
		name, document, want string
	}{
		{"nothing", "", "a.bu: error parsing variant; must be specified"},
		{"unknown variant", "variant: debian\nversion: 1.0.0\n", "a.bu: No translator exists for variant debian with version 1.0.0"},
		{
			"unknown key",
			head + "storage:\n  files:\n    - path: /a\n      colour: red\n",
			"a.bu:6:7: $.storage.files.0.colour: unused key colour",
		},
		{
			"two problems",
			head + "storage:\n  files:\n    - path: a\n      mode: 0644\n    - path: /b\n      mode: 644\n",
			"a.bu:5:13: $.storage.files.0.path: path not absolute\n" +
				"a.bu:8:13: $.storage.files.1.mode: unreasonable mode would be reasonable if specified in octal; remember to add a leading zero\n" +
				"a.bu:8:13: $.storage.files.1.mode: setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0",
		},
		{
			"local file",
			head + "storage:\n  files:\n    - path: /a\n      mode: 0644\n      contents:\n        local: /etc/passwd\n",
			"a.bu:8:16: $.storage.files.0.contents.local: local file paths are relative to a files directory that must be specified with -d/--files-dir",
		},
		{"wrong type", head + "storage: 7\n", "a.bu: yaml: unmarshal errors:\n  line 3: cannot unmarshal !!int `7` into v0_5.Storage"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := render.Render("a.bu", []byte(test.document))
			if err == nil || err.Error() != test.want {
				t.Errorf("error is %v\nwant %s", err, test.want)
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	f.Add([]byte("variant: flatcar\nversion: 1.1.0\npasswd:\n  users:\n    - name: core\n"))
	f.Add([]byte("variant: flatcar\nversion: 1.1.0\nstorage:\n  disks:\n    - device: /dev/vda\n"))
	f.Add([]byte("variant: fcos\n"))
	f.Add([]byte("- 1\n"))
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := render.Render("a.bu", document)
		if err == nil && !json.Valid(c.Bytes()) {
			t.Errorf("config is not JSON: %s", c.Bytes())
		}
	})
}

func indent(t *testing.T, content []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
