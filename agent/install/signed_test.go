package install_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
)

func newKey(t *testing.T) signature.PrivateKey {
	t.Helper()
	key, err := signature.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// describe makes the manifest of the image, signed by a key.
func (l *lab) describe(key signature.PrivateKey) {
	l.t.Helper()
	m := images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind, Name: "node", ID: l.plan.Image.ID,
		Artifacts: []images.Artifact{{Path: images.BlockMapFile, SHA256: digest(l.blockMap())}},
	}
	var err error
	if l.manifest, err = json.Marshal(m); err != nil {
		l.t.Fatal(err)
	}
	l.sign(key)
	files := strings.TrimSuffix(l.plan.Image.DiskURL, "/disk")
	l.plan.Image.ManifestURL, l.plan.Image.SignatureURL = files+"/manifest", files+"/signature"
}

func (l *lab) sign(key signature.PrivateKey) {
	l.t.Helper()
	var err error
	if l.signature, err = key.Sign(l.manifest, "of a test"); err != nil {
		l.t.Fatal(err)
	}
}

// bakeKeys is what the initramfs has.
func (l *lab) bakeKeys(text string) {
	l.t.Helper()
	name := filepath.Join(l.root, images.ImageKeysPath)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func lines(keys ...signature.PrivateKey) []string {
	var all signature.Keys
	for _, k := range keys {
		all = append(all, k.Public())
	}
	return all.Lines()
}

// What the console says of signatures, and that the image is installed.
func TestSigned(t *testing.T) {
	ours, next := newKey(t), newKey(t)
	for _, tt := range []struct {
		name   string
		change func(*lab)
		want   []string
	}{
		{"not signed", func(*lab) {}, []string{"image image-1 is not signed"}},
		{"not signed, by a server that knows manifests", func(l *lab) {
			l.describe(ours)
			l.plan.Image.SignatureURL = ""
		}, []string{"image image-1 is not signed"}},
		{"no key", func(l *lab) { l.describe(ours) }, []string{"image image-1 is signed, and there is no key to check that with"}},
		{"keys of the plan", func(l *lab) {
			l.describe(ours)
			l.plan.Image.Keys = lines(next, ours)
		}, []string{"image image-1 is signed with the key " + ours.Public().ID() + ", as the server wants"}},
		{"keys of the initramfs", func(l *lab) {
			l.describe(ours)
			l.bakeKeys(string(ours.Public().File()) + string(next.Public().File()))
		}, []string{"image image-1 is signed with the key " + ours.Public().ID() + ", as the initramfs wants"}},
		{"keys of both", func(l *lab) {
			l.describe(next)
			l.plan.Image.Keys = lines(next)
			l.bakeKeys(strings.Join(lines(ours, next), "\n"))
		}, []string{
			"image image-1 is signed with the key " + next.Public().ID() + ", as the server wants",
			"image image-1 is signed with the key " + next.Public().ID() + ", as the initramfs wants",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2*blockSize)
			tt.change(l)
			if err := install.Run(context.Background(), l.opts); err != nil {
				t.Fatal(err)
			}
			l.wantInstalled()
			for _, line := range tt.want {
				if !strings.Contains(l.console.String(), "k8snode: "+line+"\n") {
					t.Errorf("the console lacks %q:\n%s", line, &l.console)
				}
			}
		})
	}
}

// Nothing is written of an image that is not signed as it should be, and the
// server hears why.
func TestSignatureRefused(t *testing.T) {
	ours, theirs := newKey(t), newKey(t)
	const remedy = `; sign it with "k8snode sign" and publish it again`
	id := ours.Public().ID()
	broken := "the signature is wrong: it or the manifest was changed after it was signed (key " + id + ")" + remedy
	replace := func(b []byte, old, with string) []byte {
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%q is not in %s", old, b)
		}
		return bytes.ReplaceAll(b, []byte(old), []byte(with))
	}
	for _, tt := range []struct {
		name   string
		change func(*lab) // of a lab whose plan has our key
		want   string
	}{
		{"wrong key", func(l *lab) { l.sign(theirs) }, "image image-1 is refused: the server wants it signed: no trusted key signed it: the signature is of key " +
			theirs.Public().ID() + ", trusted are: " + id + remedy},
		{"tampered manifest", func(l *lab) { l.manifest = replace(l.manifest, `"node"`, `"evil"`) }, "image image-1 is refused: the server wants it signed: " + broken},
		{"tampered signature", func(l *lab) { l.signature = replace(l.signature, "of a test", "of a jest") }, "image image-1 is refused: the server wants it signed: " + broken},
		{"no signature", func(l *lab) { l.plan.Image.SignatureURL = "" }, "image image-1 is refused: the server wants it signed: it is not signed" + remedy},
		{"empty signature", func(l *lab) { l.signature = nil }, "image image-1 is refused: the server wants it signed: it is not signed" + remedy},
		{"signature that is gone", func(l *lab) { l.plan.Image.SignatureURL += "x" }, "fetching signature: GET "},
		{"manifest that is gone", func(l *lab) { l.plan.Image.ManifestURL += "x" }, "fetching manifest: GET "},
		{"signature that never ends", func(l *lab) { l.signature = make([]byte, signature.MaxSize+1) }, "fetching signature: reading "},
		{"no signature at all", func(l *lab) { l.signature = []byte("hello") }, "image image-1 is refused: the server wants it signed: the signature is not one of minisign"},
		{"a key that is none", func(l *lab) { l.plan.Image.Keys = []string{"hello"} }, `reading the keys of the plan: "hello" is not a public key of minisign`},

		// A machine that is to get a new image gets no old one, however well signed.
		{"replay of another image", func(l *lab) {
			l.manifest = replace(l.manifest, "image-1", "image-0")
			l.sign(ours)
		}, "image image-1 is refused: the signed manifest is of image image-0"},
		{"replay of another block map", func(l *lab) {
			l.manifest = replace(l.manifest, digest(l.blockMap()), strings.Repeat("0", 64))
			l.sign(ours)
		}, "image image-1 is refused: the signed manifest has a block map with sha256 " + strings.Repeat("0", 64) + ", the plan has one with "},
		{"another block map, which the plan has too", func(l *lab) { l.blocks.Blocks[3].SHA256 = strings.Repeat("0", 64) }, "fetching block map: sha256 of "},
		{"another block map, signed by nobody", func(l *lab) {
			l.blocks.Blocks[3].SHA256 = strings.Repeat("0", 64)
			l.plan.Image.BlockMapSHA256 = digest(l.blockMap())
		}, "image image-1 is refused: the signed manifest has a block map with sha256 "},
		{"no block map", func(l *lab) {
			l.manifest = replace(l.manifest, images.BlockMapFile, "other")
			l.sign(ours)
		}, "image image-1 is refused: the signed manifest has no disk.blockmap.json"},
		{"what is no manifest", func(l *lab) {
			l.manifest = []byte("{}")
			l.sign(ours)
		}, "not the manifest of an image of k8snode.io/v1alpha1"},

		// What is in the initramfs no server can take back.
		{"a server that wants nothing", func(l *lab) {
			l.plan.Image.Keys = nil
			l.bakeKeys(lines(theirs)[0])
		}, "image image-1 is refused: the initramfs wants it signed: no trusted key signed it"},
		{"a server with another key", func(l *lab) { l.bakeKeys(lines(theirs)[0]) }, "image image-1 is refused: the initramfs wants it signed: no trusted key signed it"},
		{"a server that knows no manifests", func(l *lab) {
			l.plan.Image.Keys, l.plan.Image.ManifestURL, l.plan.Image.SignatureURL = nil, "", ""
			l.bakeKeys(lines(ours)[0])
		}, "image image-1 is refused: the plan does not say where its manifest is"},
		{"an initramfs without keys", func(l *lab) { l.bakeKeys("# none\n") }, "reading keys: /etc/k8snode/image-keys holds no public key"},
		{"an initramfs with damaged keys", func(l *lab) { l.bakeKeys("x\n") }, "reading keys: /etc/k8snode/image-keys:1: it is not a public key of minisign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2*blockSize)
			l.describe(ours)
			l.plan.Image.Keys = lines(ours)
			tt.change(l)
			l.wantFailure(install.Run(context.Background(), l.opts), tt.want)
			if step := l.lastReport().Step; step != "signature" && !strings.HasPrefix(tt.want, "fetching block map") {
				t.Errorf("it failed at %q", step)
			}
			l.wantUntouched("sda")
			l.wantRanges()
		})
	}
}

// A server that is starting is asked again.
func TestSignatureAfterServerErrors(t *testing.T) {
	key := newKey(t)
	l := newLab(t, 2*blockSize)
	l.describe(key)
	l.plan.Image.Keys = lines(key)
	tries := 0
	l.serveSignature = func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries < 3 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		w.Write(l.signature)
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
}
