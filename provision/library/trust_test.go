package library_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/provision/library"
)

func newKey(t *testing.T) signature.PrivateKey {
	t.Helper()
	key, err := signature.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// offer is an image that a key signed.
func offer(t *testing.T, m images.Manifest, key signature.PrivateKey) library.Offer {
	t.Helper()
	text := text(t, m)
	sig, err := key.Sign(text, "id:"+m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return library.Offer{Manifest: text, Signature: sig}
}

// send publishes an offer.
func send(t *testing.T, l *library.Library, o library.Offer) error {
	t.Helper()
	ctx := context.Background()
	u, err := l.Begin(ctx, o)
	if err != nil || u.Complete {
		return err
	}
	for _, f := range u.Files {
		if f.Have == f.Size {
			continue
		}
		if _, err := l.Append(ctx, u.ID, f.Path, f.Have, bytes.NewReader(bytesOf(f.Path)[f.Have:])); err != nil {
			t.Fatal(err)
		}
	}
	return l.Commit(ctx, u.ID)
}

// With keys, only what one of them signed gets in, before a byte of it is sent.
func TestTrusted(t *testing.T) {
	ours, next, theirs := newKey(t), newKey(t), newKey(t)
	keys := signature.Keys{ours.Public(), next.Public()}
	m := manifest("aa")
	const remedy = `; sign it with "k8snode sign" and a key that is trusted here, and publish it again`
	refused := `image "aa" is refused: `
	tampered := offer(t, m, ours)
	tampered.Manifest = append(bytes.Clone(tampered.Manifest), '\n')
	replayed := offer(t, manifest("bb"), ours)
	replayed.Manifest = text(t, m)
	for name, tt := range map[string]struct {
		offer library.Offer
		is    error
		want  string // "" gets in
	}{
		"signed":                 {offer(t, m, ours), nil, ""},
		"signed by the next key": {offer(t, m, next), nil, ""},
		"unsigned":               {library.Offer{Manifest: text(t, m)}, signature.ErrUnsigned, refused + "it is not signed" + remedy},
		"signed by another": {offer(t, m, theirs), signature.ErrForeign, refused + "no trusted key signed it: the signature is of key " +
			theirs.Public().ID() + ", trusted are: " + keys.String() + remedy},
		"another manifest":       {tampered, signature.ErrBroken, refused + "the signature is wrong: it or the manifest was changed after it was signed (key " + ours.Public().ID() + ")" + remedy},
		"an old signature":       {replayed, signature.ErrBroken, refused + "the signature is wrong: it or the manifest was changed after it was signed (key " + ours.Public().ID() + ")" + remedy},
		"what is no signature":   {library.Offer{Manifest: text(t, m), Signature: []byte("x")}, nil, `reading the signature of image "aa": the signature is not one of minisign: minisign: invalid signature`},
		"a signature of nothing": {library.Offer{Manifest: text(t, m), Signature: []byte{}}, signature.ErrUnsigned, refused + "it is not signed" + remedy},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "images")
			l, err := library.Open(dir, library.Options{Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			err = send(t, l, tt.offer)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Activate(context.Background(), "aa"); err != nil {
					t.Error(err)
				}
				got, err := l.Current()
				if err != nil || l.Trusted(got) != nil || !bytes.Equal(got.Signature, tt.offer.Signature) || !bytes.Equal(got.Text, tt.offer.Manifest) {
					t.Errorf("%+v, %v, %v", got, err, l.Trusted(got))
				}
				return
			}
			if err == nil || err.Error() != tt.want || (tt.is != nil && (!errors.Is(err, tt.is) || !errors.Is(err, library.ErrUntrusted))) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(dir, ".incoming", "aa")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something of it is there: %v", err)
			}
		})
	}
}

// What got in before there were keys is neither activated nor completed.
func TestTrustedSince(t *testing.T) {
	ctx := context.Background()
	key := newKey(t)
	before, dir := open(t)
	if err := send(t, before, library.Offer{Manifest: text(t, manifest("aa"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Begin(ctx, offer(t, manifest("bb"), newKey(t))); err != nil {
		t.Fatal(err)
	}
	l, err := library.Open(dir, library.Options{Keys: signature.Keys{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Activate(ctx, "aa"); !errors.Is(err, library.ErrUntrusted) || !strings.HasPrefix(err.Error(), `activating an image: image "aa" is refused: it is not signed`) {
		t.Errorf("activated: %v", err)
	}
	if err := l.Commit(ctx, "bb"); !errors.Is(err, library.ErrUntrusted) {
		t.Errorf("committed: %v", err)
	}
	if all, err := l.Images(); err != nil || len(all) != 1 || l.Trusted(all[0]) == nil {
		t.Errorf("it is not shown: %+v, %v", all, err)
	}
	// Its signature is all that it lacks.
	if err := send(t, l, offer(t, manifest("aa"), key)); err != nil {
		t.Fatal(err)
	}
	if err := l.Activate(ctx, "aa"); err != nil {
		t.Error(err)
	}
}

// A signature is kept without keys, too, and a later one takes its place.
func TestSignedAgain(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	first, second := offer(t, manifest("aa"), newKey(t)), offer(t, manifest("aa"), newKey(t))
	want := func(sig []byte) {
		t.Helper()
		one, err := l.Image("aa")
		if err != nil || !bytes.Equal(one.Signature, sig) {
			t.Errorf("signature %q, %v; want %q", one.Signature, err, sig)
		}
	}
	if err := send(t, l, first); err != nil {
		t.Fatal(err)
	}
	want(first.Signature)
	if u, err := l.Begin(ctx, library.Offer{Manifest: first.Manifest}); err != nil || !u.Complete {
		t.Errorf("%+v, %v", u, err)
	}
	want(first.Signature)
	if err := send(t, l, second); err != nil {
		t.Fatal(err)
	}
	want(second.Signature)

	m := manifest("aa")
	m.Name = "other"
	if _, err := l.Begin(ctx, offer(t, m, newKey(t))); err == nil || err.Error() != `signing image "aa": it is here with other words in its manifest, so the signature is not one of it: remove it first` {
		t.Errorf("a signature of other words: %v", err)
	}
	want(second.Signature)

	// An upload that goes on has the newest as well.
	for _, o := range []library.Offer{offer(t, manifest("bb"), newKey(t)), offer(t, manifest("bb"), newKey(t))} {
		if _, err := l.Begin(ctx, o); err != nil {
			t.Fatal(err)
		}
		if got, err := images.OpenSignature(filepath.Join(dir, ".incoming", "bb")); err != nil || !bytes.Equal(got, o.Signature) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestSingleTrusted(t *testing.T) {
	l, dir := open(t)
	o := offer(t, manifest("aa"), newKey(t))
	if err := send(t, l, o); err != nil {
		t.Fatal(err)
	}
	one, err := library.Single(filepath.Join(dir, "aa"), library.Options{Keys: signature.Keys{newKey(t).Public()}})
	if err != nil {
		t.Fatal(err)
	}
	current, err := one.Current()
	if err != nil || !errors.Is(one.Trusted(current), signature.ErrForeign) {
		t.Errorf("%v, %v", err, one.Trusted(current))
	}
	if err := one.Activate(context.Background(), "aa"); !errors.Is(err, library.ErrUntrusted) {
		t.Errorf("activated: %v", err)
	}
}
