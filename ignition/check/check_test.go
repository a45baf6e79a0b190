package check_test

import (
	"errors"
	"testing"

	"github.com/k8snode/k8snode/ignition/check"
)

const user = `"passwd":{"users":[{"name":"core"}]}`

func config(version, rest string) string {
	return `{"ignition":{"version":"` + version + `"},` + rest + `}`
}

func TestCheckAccepts(t *testing.T) {
	for _, version := range []string{"3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0", "3.6.0"} {
		t.Run(version, func(t *testing.T) {
			if err := check.Check([]byte(config(version, user)), version); err != nil {
				t.Error(err)
			}
		})
	}
	if err := check.Check([]byte(config("3.3.0", user)), "3.6.0"); err != nil {
		t.Errorf("older than the image: %v", err)
	}
	if err := check.Check([]byte(config("3.4.0", `"storage":{"directories":[{"path":"/a"}]}`)), "3.4.0"); err != nil {
		t.Errorf("a directory: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name, content, maxSpec string
		is                     error
		want                   string
	}{
		{
			name: "no bytes", content: "", maxSpec: "3.4.0",
			is: check.ErrEmpty, want: "config is empty",
		},
		{
			name: "nothing but a version", content: `{"ignition":{"version":"3.4.0"}}`, maxSpec: "3.4.0",
			is: check.ErrEmpty, want: "config is empty: it sets nothing but a version",
		},
		{
			name: "empty sections", content: config("3.4.0", `"storage":{"files":[]},"systemd":{}`), maxSpec: "3.4.0",
			is: check.ErrEmpty, want: "config is empty: it sets nothing but a version",
		},
		{
			name: "newer than the image", content: config("3.5.0", user), maxSpec: "3.4.0",
			is: check.ErrSpec, want: "config specification is too new: it is 3.5.0, the image reads at most 3.4.0",
		},
		{
			name: "experimental", content: config("3.5.0-experimental", user), maxSpec: "3.6.0",
			want: "specification 3.5.0-experimental is not one of 3.0.0 to 3.6.0",
		},
		{
			name: "Ignition 2", content: config("2.3.0", user), maxSpec: "3.6.0",
			want: "specification 2.3.0 is not one of 3.0.0 to 3.6.0",
		},
		{
			name: "no version", content: "{" + user + "}", maxSpec: "3.4.0",
			want: "invalid config version (couldn't parse)",
		},
		{
			name: "image without version", content: config("3.4.0", user), maxSpec: "newest",
			want: `newest specification of the image "newest": newest is not in dotted-tri format`,
		},
		{
			name: "not JSON", content: "ignition:\n", maxSpec: "3.4.0",
			want: "1:2: invalid character 'i' looking for beginning of value",
		},
		{
			name:    "unknown key",
			content: config("3.4.0", "\n"+`"storage":{"files":[{"path":"/a","colour":1}]}`), maxSpec: "3.4.0",
			want: "2:34: $.storage.files.0.colour: unused key colour",
		},
		{
			name:    "two problems",
			content: config("3.4.0", `"storage":{"files":[{"path":"a"},{"path":"/b","mode":-1}]}`), maxSpec: "3.4.0",
			want: "1:61: $.storage.files.0.path: path not absolute\n1:86: $.storage.files.1.mode: illegal file mode\n" +
				"1:86: $.storage.files.1.mode: setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := check.Check([]byte(test.content), test.maxSpec)
			if want := "checking Ignition config: " + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v\nwant %s", err, want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
		})
	}
}

// Whatever passes has a version that the image reads.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(config("3.4.0", user)))
	f.Add([]byte(config("3.4.0", `"storage":{"files":[{"path":"/a","contents":{"source":"data:,x"}}]}`)))
	f.Add([]byte(config("3.6.0", user)))
	f.Add([]byte(`{"ignition":{"version":"3.4.0"},"storage":null}`))
	f.Add([]byte(`{`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		if check.Check(content, "3.4.0") != nil {
			return
		}
		if err := check.Check(content, "3.3.9"); err != nil && !errors.Is(err, check.ErrSpec) {
			t.Errorf("an older image refuses it for another reason: %v", err)
		}
	})
}
