package main

import (
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/goproxytest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/k8snode/k8snode/builder/source/debtest"
)

// debianMirror is the one of a script.
type debianMirror struct{ *debtest.Mirror }

// mirror makes the script's Debian archive offer what a root needs, and these
// packages. It sets MIRROR to its address and KEYRING to its key.
//
//	mirror curl=8.1 jq=1.7
func mirror(ts *testscript.TestScript, args []string) {
	m, ok := ts.Value(debianMirror{}).(*debianMirror)
	if !ok {
		ts.Fatalf("internal error: the script has no place for a mirror")
	}
	if m.Mirror == nil {
		var err error
		m.Mirror, err = debtest.New()
		ts.Check(err)
		key, err := m.Keyring()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs("key.gpg"), key, 0o644))
		server := httptest.NewServer(m)
		ts.Defer(server.Close)
		ts.Setenv("MIRROR", server.URL+"/debian")
		ts.Setenv("KEYRING", ts.MkAbs("key.gpg"))
	}
	suite := []debtest.Package{
		{Name: "base-files", Version: "13", Essential: true},
		{Name: "linux-image-amd64", Version: "6.12"},
		{Name: "ipxe", Version: "1.21"},
		{Name: "systemd-boot-efi", Version: "257"},
	}
	for _, arg := range args {
		name, version, _ := strings.Cut(arg, "=")
		suite = append(suite, debtest.Package{Name: name, Version: version})
	}
	ts.Check(m.Set("trixie", suite...))
	ts.Check(m.Set("trixie-backports", debtest.Package{Name: "linux-image-amd64", Version: "7.3"}))
}

// proxy serves the Go modules in a folder, one folder for each module, and
// sets the environment so that the Go command knows no other.
//
//	proxy modules
func proxy(ts *testscript.TestScript, args []string) {
	server, err := goproxytest.NewServer(ts.MkAbs(args[0]), "")
	ts.Check(err)
	ts.Defer(server.Close)
	ts.Setenv("GOPROXY", server.URL)
	ts.Setenv("GONOSUMDB", "*")
	ts.Setenv("GOFLAGS", "-modcacherw")
	ts.Setenv("GOMODCACHE", ts.MkAbs("modcache"))
	ts.Setenv("GOTOOLCHAIN", "local")
}
