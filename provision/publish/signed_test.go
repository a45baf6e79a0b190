package publish_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

// sign signs the image in a folder, and returns the signature.
func sign(t *testing.T, dir string) (signature.Key, []byte) {
	t.Helper()
	_, text, err := images.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signature.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.Sign(text, "of a test")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, images.SignatureFile), sig)
	return key.Public(), sig
}

// A signature goes along, whatever way, also when the image is there already and
// when the line breaks.
func TestSignatureGoesAlong(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	server := newLibrary(t)
	client, cut := serve(t, server, 1<<20)
	folder := newLibrary(t)
	var w waits
	send := func(want []byte) {
		t.Helper()
		for name, to := range map[string]struct {
			target publish.Target
			l      *library.Library
		}{"server": {client, server}, "folder": {folder, folder}} {
			if _, err := publish.Image(ctx, dir, to.target, publish.Options{After: publish.Activate, Wait: w.wait}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if current, err := to.l.Current(); err != nil || !bytes.Equal(current.Signature, want) {
				t.Errorf("%s: the signature is %q, %v", name, current.Signature, err)
			}
		}
	}
	_, first := sign(t, dir)
	send(first)
	if cut.cuts.Load() < 3 {
		t.Errorf("the line broke %d times: the test is none", cut.cuts.Load())
	}
	wantImage(t, server, "aa")
	_, second := sign(t, dir)
	send(second)
}

// With keys nothing is sent that none of them signed.
func TestKeys(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	key, _ := sign(t, dir)
	if _, err := publish.Image(ctx, dir, newLibrary(t), publish.Options{Keys: signature.Keys{key}}); err != nil {
		t.Error(err)
	}
	_, _ = sign(t, dir)
	if _, err := publish.Image(ctx, dir, dead{}, publish.Options{Keys: signature.Keys{key}}); !errors.Is(err, signature.ErrForeign) {
		t.Errorf("another key: %v", err)
	}
	dir = bake(t, "aa")
	want := "publishing " + dir + `: it is not signed; sign it with "k8snode sign"`
	if _, err := publish.Image(ctx, dir, dead{}, publish.Options{Keys: signature.Keys{key}}); err == nil || err.Error() != want {
		t.Errorf("no signature: %v", err)
	}
}
