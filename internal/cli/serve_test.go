package cli_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/cli"
)

// A server whose clock is behind its secrets says so, before it makes anything.
func TestServeClockBehind(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{"passphrase": "correct horse\n", "cluster.yaml": `apiVersion: k8snode.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.37.2}
  endpoint: {name: api.lab.internal}
  provision: {address: 10.77.0.1}
  nodes:
    - {name: cp1, role: controlPlane, mac: "52:54:00:6b:00:0b", address: 10.77.0.11/24, disk: {minSizeGiB: 8}}
`} {
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(now time.Time, args ...string) (int, string) {
		t.Helper()
		var stderr bytes.Buffer
		env := cli.Env{Stdin: new(bytes.Buffer), Stdout: new(bytes.Buffer), Stderr: &stderr, Now: func() time.Time { return now }, Rand: rand.Reader}
		return cli.Run(t.Context(), env, args), stderr.String()
	}
	made := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	if code, out := at(made, "secrets", "init", "--out", in("secrets.age"), "--passphrase-file", in("passphrase")); code != 0 {
		t.Fatal(out)
	}
	serve := []string{"serve", "--cluster", in("cluster.yaml"), "--secrets", in("secrets.age"), "--passphrase-file", in("passphrase"), "--image", in("none"), "--data", in("data")}
	code, out := at(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), serve...)
	const want = "k8snode: error: checking the secrets: authority is not valid yet: kubernetes begins at 2026-11-22T11:55:00Z, " +
		"and the clock says 2020-01-01T00:00:00Z: set the clock\n"
	if code != 1 || out != want {
		t.Errorf("ended with %d and\n%s\nwant\n%s", code, out, want)
	}
	if _, err := os.Stat(in("data")); err == nil {
		t.Error("it has begun")
	}
	// With the right time it is something else that is missing.
	if code, out := at(made, serve...); code != 1 || !strings.Contains(out, "reading the image: ") {
		t.Errorf("ended with %d and\n%s", code, out)
	}
}
