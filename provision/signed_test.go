package provision_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

func newKey(t *testing.T) signature.PrivateKey {
	t.Helper()
	key, err := signature.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs the image in a folder.
func sign(t *testing.T, dir string, key signature.PrivateKey) {
	t.Helper()
	_, text, err := images.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.Sign(text, "of a test")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, images.SignatureFile), sig)
}

// signed makes options with one image that a key signed.
func signed(t *testing.T, key signature.PrivateKey) func(*provision.Options) {
	return func(o *provision.Options) {
		dir, _ := imageFolder(t)
		sign(t, dir, key)
		var err error
		if o.Images, err = library.Single(dir, library.Options{Keys: signature.Keys{newKey(t).Public(), key.Public()}}); err != nil {
			t.Fatal(err)
		}
	}
}

// An image that no key of the server signed is refused when it starts, when the
// image is published, and when it is activated.
func TestUnsignedImage(t *testing.T) {
	ctx := context.Background()
	key := newKey(t)
	trust := library.Options{Keys: signature.Keys{key.Public()}}

	opts := options(t)
	dir, _ := imageFolder(t)
	var err error
	if opts.Images, err = library.Single(dir, trust); err != nil {
		t.Fatal(err)
	}
	want := `checking the options of the provisioning server: image "0123abcd" is refused: it is not signed; ` +
		`sign it with "k8snode sign" and a key that is trusted here, and publish it again`
	if _, err := provision.New(ctx, opts); err == nil || err.Error() != want {
		t.Errorf("started: %v", err)
	}
	sign(t, dir, newKey(t))
	if _, err := provision.New(ctx, opts); !errors.Is(err, signature.ErrForeign) {
		t.Errorf("started with an image of another key: %v", err)
	}
	sign(t, dir, key)
	if _, err := provision.New(ctx, opts); err != nil {
		t.Errorf("not started with a signed image: %v", err)
	}

	f := newFixture(t, func(o *provision.Options) {
		if o.Images, err = library.Open(filepath.Join(t.TempDir(), "images"), trust); err != nil {
			t.Fatal(err)
		}
	})
	client := f.operator()
	unsigned := another(t, "aaaa")
	want = `image "aaaa" is refused: it is not signed; sign it with "k8snode sign" and a key that is trusted here, and publish it again`
	if _, err := publish.Image(ctx, unsigned, client, publish.Options{}); !errors.Is(err, library.ErrUntrusted) || err.Error() != want {
		t.Errorf("published: %v", err)
	}
	if all, err := client.Images(ctx); err != nil || len(all) != 0 {
		t.Errorf("something of it is there: %+v, %v", all, err)
	}
	sign(t, unsigned, key)
	if _, err := publish.Image(ctx, unsigned, client, publish.Options{After: publish.Activate}); err != nil {
		t.Errorf("signed: %v", err)
	}
	// Somebody who reaches the folder.
	if err := os.Remove(filepath.Join(f.image().Dir, images.SignatureFile)); err != nil {
		t.Fatal(err)
	}
	if err := client.Activate(ctx, "aaaa"); !errors.Is(err, library.ErrUntrusted) {
		t.Errorf("activated: %v", err)
	}
	if _, err := client.Arm(ctx, "a", admin.ArmOptions{For: time.Hour}); !errors.Is(err, library.ErrUntrusted) || !strings.HasPrefix(err.Error(), `arming node "a": image "aaaa" is refused: it is not signed`) {
		t.Errorf("armed: %v", err)
	}
}

// The plan says where manifest and signature are, and by whom it must be.
func TestPlanOfSignedImage(t *testing.T) {
	key := newKey(t)
	f := newFixture(t, signed(t, key))
	f.arm()
	plan, _ := f.plan(f.seed().Token)
	const at = "http://127.0.0.1:8080/artifacts/0123abcd/"
	got := plan.Image
	if got.ManifestURL != at+"manifest.json" || got.SignatureURL != at+"manifest.json.minisig" || len(got.Keys) != 2 || got.Keys[1] != key.Public().String() {
		t.Errorf("the plan: %+v", got)
	}
	manifest := f.from(addrA, "GET", f.boot.URL+"/artifacts/0123abcd/manifest.json", "", "")
	sig := f.from(addrA, "GET", f.boot.URL+"/artifacts/0123abcd/manifest.json.minisig", "", "")
	if _, err := (signature.Keys{key.Public()}).Check([]byte(manifest.body), []byte(sig.body)); err != nil {
		t.Errorf("what is served is not signed: %v", err)
	}
	for _, got := range []answer{manifest, sig} {
		if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%d %v", got.status, got.header)
		}
	}
	if got := f.from(addrA, "HEAD", f.boot.URL+"/artifacts/0123abcd/manifest.json", "", ""); got.status != http.StatusOK || got.body != "" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
}

// A server without keys serves a signature that is there all the same: the
// initramfs may have keys of its own.
func TestSignatureWithoutKeys(t *testing.T) {
	f := newFixture(t, nil)
	sign(t, f.image().Dir, newKey(t))
	f.arm()
	plan, _ := f.plan(f.seed().Token)
	if !strings.HasSuffix(plan.Image.SignatureURL, "/manifest.json.minisig") || plan.Image.Keys != nil {
		t.Errorf("the plan: %+v", plan.Image)
	}
}

// What is changed after a node was armed is not installed: not the boot files, not
// the image, not the config.
func TestImageChangedSinceArmed(t *testing.T) {
	const reason = "no trusted key signed the image of this install: sign it and publish it again, or arm the node with another"
	for name, tt := range map[string]struct {
		upTo   func(*fixture) string
		ask    func(*fixture, string) answer
		action string
		status int
	}{
		"seed": {
			func(f *fixture) string { f.arm(); return "" },
			func(f *fixture, _ string) answer { return f.from(addrA, "GET", f.boot.URL+seedURL, "", "") },
			"seed", http.StatusNotFound,
		},
		"plan": {
			func(f *fixture) string { f.arm(); return f.seed().Token },
			func(f *fixture, token string) answer {
				return f.from(addrA, "GET", f.api.URL+api.PathInstall, token, "")
			}, "plan", http.StatusForbidden,
		},
		"config": {
			(*fixture).configToken,
			func(f *fixture, token string) answer { return f.fetchConfig(addrA, token) },
			"config", http.StatusForbidden,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, signed(t, newKey(t)))
			token := tt.upTo(f)
			image := f.image()
			// Another block map, with a digest that fits.
			text := bytes.ReplaceAll(image.Text, []byte(image.Manifest.Artifacts[4].SHA256), []byte(strings.Repeat("0", 64)))
			writeFile(t, filepath.Join(image.Dir, images.ManifestFile), text)
			if got := tt.ask(f, token); got.status != tt.status {
				t.Errorf("%d, want %d", got.status, tt.status)
			}
			f.wantRefused(addrA, tt.action, reason)
			if name == "config" {
				return // the machine is past its boot script
			}
			script := f.from(addrA, "GET", f.boot.URL+scriptURL, "", "")
			if !strings.Contains(script.body, reason) || strings.Contains(script.body, "/artifacts/") {
				t.Errorf("script:\n%s", script.body)
			}
		})
	}
}
