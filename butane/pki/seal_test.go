package pki_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/pki"
)

func TestSealAndOpen(t *testing.T) {
	b := newBundle(t)
	var sealed bytes.Buffer
	if err := pki.Seal(&sealed, b, "correct horse", pki.SealOptions{WorkFactor: 10}); err != nil {
		t.Fatal(err)
	}
	text := sealed.String()
	if !strings.HasPrefix(text, armor.Header+"\n") {
		t.Errorf("sealed bundle begins with %.40q, want an age header", text)
	}
	opened, err := pki.Open(strings.NewReader(text), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, opened); diff != "" {
		t.Errorf("opened bundle differs (-sealed +opened):\n%s", diff)
	}

	_, err = pki.Open(strings.NewReader(text), "battery staple")
	if !errors.Is(err, pki.ErrPassphrase) || err.Error() != "opening secrets: wrong passphrase" {
		t.Errorf("with a wrong passphrase the error is %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	sealed := func(content string) string {
		recipient, err := age.NewScryptRecipient("p")
		if err != nil {
			t.Fatal(err)
		}
		recipient.SetWorkFactor(10)
		return encrypt(t, content, recipient)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	whole := sealed("{}")
	tests := []struct {
		name, text, passphrase, want string
	}{
		{"no passphrase", whole, "", "passphrase can't be empty"},
		{"for a key", encrypt(t, "{}", identity.Recipient()), "p", "file is encrypted for a key, not with a passphrase"},
		{"not JSON", sealed("hello"), "p", "reading JSON: invalid character 'h' looking for beginning of value"},
		{"unknown key", sealed(`{"color":"red"}`), "p", `reading JSON: json: unknown field "color"`},
		{"not a bundle", whole, "p", `not a secrets bundle: apiVersion "", kind ""; want "k8snode.io/v1alpha1", "Secrets"`},
		{"too new", sealed(`{"apiVersion":"k8snode.io/v2","kind":"Secrets","color":"red"}`), "p", "they are of version k8snode.io/v2, and this k8snode reads k8snode.io/v1alpha1: use a newer k8snode"},
		{"incomplete", sealed(`{"apiVersion":"k8snode.io/v1alpha1","kind":"Secrets"}`), "p", `cluster ID "" is not a UUID`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pki.Open(strings.NewReader(test.text), test.passphrase)
			if want := "opening secrets: " + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
			if errors.Is(err, pki.ErrPassphrase) {
				t.Error("the passphrase is blamed")
			}
		})
	}
	for _, text := range []string{"", "hello", whole[:len(whole)/2]} {
		if _, err := pki.Open(strings.NewReader(text), "p"); err == nil || errors.Is(err, pki.ErrPassphrase) {
			t.Errorf("opening %.20q: error is %v, want one that does not blame the passphrase", text, err)
		}
	}
}

func TestSealErrors(t *testing.T) {
	b := newBundle(t)
	swapped := b
	swapped.Etcd = b.Kubernetes
	unrelated := b
	unrelated.ServiceAccount.Key = b.Etcd.Key
	tests := []struct {
		name       string
		bundle     pki.Bundle
		passphrase string
		opts       pki.SealOptions
		want       string
	}{
		{"no passphrase", b, "", pki.SealOptions{}, "passphrase can't be empty"},
		{"work factor", b, "p", pki.SealOptions{WorkFactor: 31}, "work factor 31 is not between 1 and 22"},
		{"swapped authority", swapped, "p", pki.SealOptions{}, `authority etcd-ca: certificate of "kubernetes" is not this authority`},
		{"unrelated key", unrelated, "p", pki.SealOptions{}, "service account key: private key does not belong to the public key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			err := pki.Seal(&out, test.bundle, test.passphrase, test.opts)
			if want := "sealing secrets: " + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
			if out.Len() != 0 {
				t.Errorf("%d bytes were written", out.Len())
			}
		})
	}
}

func encrypt(t *testing.T, content string, recipient age.Recipient) string {
	t.Helper()
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
