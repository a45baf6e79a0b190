package power_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/operate/power"
)

func sum(b []byte) [32]byte { return sha256.Sum256(b) }

// outlet is a program for a machine at a power strip: it keeps the state in a file,
// and writes down what it is told.
const outlet = `#!/bin/sh
cd "$1" && echo "$2 $3" >> said || exit 1
case $2 in
status) cat state ;;
on | off) echo "$2" > state ;;
network) [ ! -e no-network ] || { echo "outlet: this strip knows no boot order" >&2; exit 3; } ;;
esac
`

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "outlet", outlet)
	if err := os.Chmod(filepath.Join(dir, "outlet"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "state", "on\n")
	c := open(t, dir, `command: ["`+filepath.Join(dir, "outlet")+`", "`+dir+`"]`)
	if err := power.Cycle(t.Context(), c, quickly()); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "network cp1\nstatus cp1\noff cp1\nstatus cp1\nstatus cp1\non cp1\nstatus cp1\n"; string(said) != want {
		t.Errorf("it was told\n%s, want\n%s", said, want)
	}
	write(t, dir, "no-network", "")
	if err := power.Cycle(t.Context(), c, quickly()); err == nil || !strings.HasSuffix(err.Error(), "outlet network cp1: exit status 3: outlet: this strip knows no boot order") {
		t.Errorf("a program that fails: %v", err)
	}
	write(t, dir, "state", "maybe\n")
	if err := power.Reach(t.Context(), c, power.Off, quickly()); err == nil || !strings.Contains(err.Error(), `says "maybe" to status, and neither on nor off`) {
		t.Errorf("a state of its own: %v", err)
	}
}

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct{ entries, want string }{
		"none":            {" []", "5:3: spec.nodes: there are no machines"},
		"no kind":         {"\n    - {name: a}", "6:7: spec.nodes[0]: the machine has 0 controllers (use one of redfish, ipmi and command)"},
		"two kinds":       {"\n    - {name: a, command: [x], ipmi: {address: b, user: c, passwordFile: d}}", "the machine has 2 controllers"},
		"twice":           {"\n    - {name: a, command: [x]}\n    - {name: a, command: [x]}", `7:14: spec.nodes[1].name: "a" is there twice`},
		"in clear":        {"\n    - {name: a, redfish: {url: http://bmc, passwordFile: p}}", `"http://bmc" is not the URL of a controller`},
		"password in URL": {"\n    - {name: a, redfish: {url: 'https://u:p@bmc', passwordFile: p}}", "is not the URL of a controller"},
		"no password":     {"\n    - {name: a, redfish: {url: https://bmc}}", "there is no password"},
		"digest":          {"\n    - {name: a, redfish: {url: https://bmc, passwordFile: p, certificateSHA256: 'AA:BB'}}", "it is not a SHA-256 in hexadecimal"},
		"digest and CA":   {"\n    - {name: a, redfish: {url: https://bmc, passwordFile: p, ca: c, certificateSHA256: '" + strings.Repeat("AB:", 31) + "AB'}}", "remove one of them"},
		"an option":       {"\n    - {name: a, ipmi: {address: --help, user: -x, passwordFile: p}}", `"--help" is not HOST or HOST:PORT`},
		"cipher":          {"\n    - {name: a, ipmi: {address: b, user: c, passwordFile: p, cipherSuite: 1}}", "1 is neither 3 nor 17"},
		"unknown":         {"\n    - {name: a, redfsh: {}}", `unknown key "redfsh"`},
	} {
		_, err := power.Parse("controllers.yaml", []byte("apiVersion: k8snode.io/v1alpha1\nkind: Controllers\n\nspec:\n  nodes:"+tt.entries+"\n"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "empty", "\n")
	write(t, dir, "password", "x\n")
	write(t, dir, "open", "x\n")
	if err := os.Chmod(filepath.Join(dir, "open"), 0o644); err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]string{
		"none":  "opening the controller of cp1: reading a password: stat " + filepath.Join(dir, "none") + ": no such file or directory",
		"empty": "the first line of " + filepath.Join(dir, "empty") + " is empty",
		"open":  "has the mode 0644, so others can read it: chmod 600 ",
	} {
		if _, err := tryOpen(dir, "ipmi: {address: 192.0.2.1, user: root, passwordFile: "+password+"}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", password, err, want)
		}
	}
	if _, err := tryOpen(dir, "redfish: {url: https://bmc, passwordFile: password, ca: password}"); err == nil || !strings.Contains(err.Error(), "password holds no certificate") {
		t.Errorf("no certificate: %v", err)
	}
	d, err := power.Parse("controllers.yaml", []byte("apiVersion: k8snode.io/v1alpha1\nkind: Controllers\nspec:\n  nodes:\n    - {name: a, command: [x]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open("b", power.OpenOptions{}); err == nil || err.Error() != "opening the controller of b: the document has none for it" {
		t.Errorf("another node: %v", err)
	}
}
