package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/internal/golden"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"k8snode": main})
}

// Every script holds its inputs. To write the outputs in them anew:
//
//	go test ./cmd/k8snode -update
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       golden.Updating(),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":       command("code N program [args...]", 2, code),
			"image":      command("image FOLDER RECIPE", 2, image),
			"mirror":     command("mirror NAME=VERSION...", 1, mirror),
			"mode":       command("mode MODE file...", 2, mode),
			"proxy":      command("proxy FOLDER", 1, proxy),
			"kubeadmpki": command("kubeadmpki FOLDER", 1, kubeadmpki),
			"secrets":    command("secrets file passphrase", 2, secrets),
		},
		Setup: func(env *testscript.Env) error {
			env.Values[debianMirror{}] = new(debianMirror)
			// For scripts that change PATH.
			program, err := exec.LookPath("k8snode")
			env.Setenv("K8SNODE", program)
			return err
		},
	})
	if golden.Updating() {
		t.Error("scripts were written anew: review them and run without -update")
	}
}

// command is a command of scripts in the form that testscript wants. None of
// ours can be negated; each has at least that many arguments.
func command(usage string, arguments int, do func(*testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < arguments {
			ts.Fatalf("usage: %s", usage)
		}
		do(ts, args)
	}
}

// code runs a program, which must end with that exit code:
//
//	code 2 k8snode bake --no-such-flag
func code(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// image makes a small image, and the recipe that it is made of, a file that its
// sources are beside:
//
//	image out/node recipe/small.yaml
func image(ts *testscript.TestScript, args []string) {
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Disk.ESPMiB, p.Recipe.Spec.Disk.RootMiB = 128, 64 // the least that a recipe may have
	recipe := ts.MkAbs(args[1])
	ts.Check(os.CopyFS(filepath.Dir(recipe), p.Sources))
	text, err := p.Recipe.YAML()
	ts.Check(err)
	ts.Check(os.WriteFile(recipe, text, 0o644))
	work, err := os.MkdirTemp("", "image-")
	ts.Check(err)
	defer os.RemoveAll(work)
	p.Bake(context.Background(), ts.MkAbs(args[0]), work, ts.Check)
}

// mode checks permissions:
//
//	mode 0600 secrets.age
func mode(ts *testscript.TestScript, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := info.Mode().Perm(); got != os.FileMode(want) {
			ts.Fatalf("%s has mode %04o, want %04o", file, got, want)
		}
	}
}

// kubeadmpki makes the authorities that kubeadm makes, of RSA keys:
//
//	kubeadmpki pki
func kubeadmpki(ts *testscript.TestScript, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Join(dir, "etcd"), 0o755))
	write := func(name, kind string, der []byte) {
		ts.Check(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	for name, cn := range map[string]string{"ca": "kubernetes", "front-proxy-ca": "front-proxy-ca", "etcd/ca": "etcd-ca", "sa": ""} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		ts.Check(err)
		write(name+".key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
		if cn == "" {
			public, err := x509.MarshalPKIXPublicKey(key.Public())
			ts.Check(err)
			write(name+".pub", "PUBLIC KEY", public)
			continue
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		ts.Check(err)
		write(name+".crt", "CERTIFICATE", der)
	}
}

// secrets makes what "k8snode secrets init" makes, without the second that its
// scrypt takes at every opening:
//
//	secrets secrets.age passphrase
func secrets(ts *testscript.TestScript, args []string) {
	bundle, err := pki.New(pki.Options{Now: time.Now(), Rand: rand.Reader})
	ts.Check(err)
	var sealed bytes.Buffer
	ts.Check(pki.Seal(&sealed, bundle, args[1], pki.SealOptions{WorkFactor: 10}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), sealed.Bytes(), 0o600))
}
