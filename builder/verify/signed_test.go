package verify_test

import (
	"crypto/rand"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
)

// imageKey is the public key of package signature's testdata.
const imageKey = "RWRVP8zsT1EE7NAl9xLSZz1/0q47dY8yY80h+Ot6JY4HxIYXmreTkjzr"

func TestSigned(t *testing.T) {
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
	f := folder{t, bake(t, p)}
	manifest, err := os.ReadFile(f.path(images.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text []byte) (signature.Key, []byte) {
		key, err := signature.Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := key.Sign(text, "of a test")
		if err != nil {
			t.Fatal(err)
		}
		return key.Public(), sig
	}
	key, good := sign(manifest)
	other, _ := sign(manifest)
	cut := good[:len(good)/2]
	_, old := sign([]byte("an older manifest"))
	const (
		signIt = "if you vouch for the image, sign it: k8snode sign"
		nameIt = "if it is of somebody whom you trust, name the public key; if you vouch for the image yourself, sign it: k8snode sign"
	)
	for _, tc := range []struct {
		name string
		sig  []byte
		keys signature.Keys
		by   string
		note string
		want []string
	}{
		{"good", good, signature.Keys{other, key}, key.ID(), "", nil},
		{"good, without keys", good, nil, "", "manifest.json.minisig says that key " + key.ID() + " signed the image: without that key it was not checked", nil},
		{"none, without keys", nil, nil, "", "", nil},
		{"none", nil, signature.Keys{key}, "", "", []string{
			"manifest.json.minisig: it is missing: the image is not signed; " + signIt,
		}},
		{"another key", good, signature.Keys{other}, "", "", []string{
			"manifest.json.minisig: no trusted key signed it: the signature is of key " + key.ID() + ", trusted are: " + other.ID() + "; " + nameIt,
		}},
		{"damaged, without keys", cut, nil, "", "", []string{
			"manifest.json.minisig: the signature is not one of minisign: minisign: invalid signature; " + signIt,
		}},
		{"damaged", cut, signature.Keys{key}, "", "", []string{
			"manifest.json.minisig: the signature is not one of minisign: minisign: invalid signature; " + signIt,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.signature(tc.sig)
			o := options()
			o.Keys = tc.keys
			if diff := cmp.Diff(append([]string{}, tc.want...), findings(t, f.dir, o)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			r, err := verify.Verify(t.Context(), f.dir, o)
			if err != nil || r.SignedBy != tc.by {
				t.Errorf("signed by %q, %v", r.SignedBy, err)
			}
			if tc.note != "" && !slices.Contains(r.Notes, tc.note) {
				t.Errorf("notes: %q", r.Notes)
			}
		})
	}

	// Of two changes that fit together the signature shows one.
	t.Run("another manifest", func(t *testing.T) {
		f.signature(good)
		f.manifest(func(m *images.Manifest) { m.Kubernetes = "v1.0.0" })
		f.sums()
		o := options()
		o.Keys = signature.Keys{key}
		want := []string{"manifest.json.minisig: the signature is wrong: it or the manifest was changed after it was signed (key " + key.ID() + "); " + signIt}
		if diff := cmp.Diff(want, findings(t, f.dir, o)); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		f.signature(old)
		o.Keys = nil
		if got := findings(t, f.dir, o); len(got) != 0 {
			t.Errorf("without keys: %q", got)
		}
	})
}

// signature writes one, or removes it.
func (f folder) signature(sig []byte) {
	f.t.Helper()
	err := os.WriteFile(f.path(images.SignatureFile), sig, 0o644)
	if sig == nil {
		err = os.Remove(f.path(images.SignatureFile))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
