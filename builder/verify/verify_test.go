package verify_test

import (
	"os"
	"regexp"
	"time"

	"github.com/k8snode/k8snode/builder/verify"
)

func options() verify.Options { return verify.Options{Env: os.Environ(), Now: time.Now} }

var (
	installed = regexp.MustCompile(`"root=/dev/mapper/root [^"]*k8snode\.root=partuuid:[^"]*"`)
	live      = regexp.MustCompile(`"root=/dev/mapper/root [^"]*k8snode\.root=label:[^"]*"`)
)

// maskCmdline shortens the right command lines.
func maskCmdline(s string) string {
	return live.ReplaceAllString(installed.ReplaceAllString(s, `"CMDLINE"`), `"LIVE"`)
}
