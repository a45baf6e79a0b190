package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/internal/lab"
)

// What is missing is said before anything is made.
func TestUMLRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	good := lab.UMLOptions{
		Name: "cp1", Dir: dir, MAC: "52:54:00:6b:00:0b",
		Kernel: at("kernel"), Libraries: at("lib64"), Disk: at("disk.raw"), Initrd: at("initrd.img"),
	}
	for _, name := range []string{"kernel/modules", "lib64"} {
		if err := os.MkdirAll(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kernel/linux", "disk.raw", "initrd.img"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*lab.UMLOptions)
		want   string
	}{
		{"name", func(o *lab.UMLOptions) { o.Name = "../cp1" }, "its name must consist of"},
		{"MAC", func(o *lab.UMLOptions) { o.MAC = "52:54" }, `"52:54" is not the MAC address`},
		{"kernel", func(o *lab.UMLOptions) { o.Kernel = at("none") }, "none/linux: no such file"},
		{"disk", func(o *lab.UMLOptions) { o.Disk = at("none") }, "none: no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := good
			tt.change(&opts)
			_, err := lab.NewUML(t.Context(), nil, opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
