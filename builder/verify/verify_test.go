package verify_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
)

// bake makes an output folder.
func bake(t *testing.T, p *verifytest.Parts) string {
	t.Helper()
	for _, tool := range append(verify.Tools(), verifytest.Tools()...) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed: scripts/host-packages.sh bake installs it, and make test runs that")
		}
	}
	dir := filepath.Join(t.TempDir(), "out")
	p.Bake(t.Context(), dir, t.TempDir(), func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	})
	return dir
}

func options() verify.Options { return verify.Options{Env: os.Environ(), Now: time.Now} }

var (
	installed = regexp.MustCompile(`"root=/dev/mapper/root [^"]*k8snode\.root=partuuid:[^"]*"`)
	live      = regexp.MustCompile(`"root=/dev/mapper/root [^"]*k8snode\.root=label:[^"]*"`)
	installer = regexp.MustCompile(`"rd\.systemd\.unit=k8snode-install\.target [^"]*k8snode\.medium=[^"]*"`)
)

// maskCmdline shortens the right command lines.
func maskCmdline(s string) string {
	for mask, words := range map[string]*regexp.Regexp{`"CMDLINE"`: installed, `"LIVE"`: live, `"INSTALLER"`: installer} {
		s = words.ReplaceAllString(s, mask)
	}
	return s
}
