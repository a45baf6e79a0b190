package signature_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/images/signature"
)

// What testdata has was made by minisign 0.11 of Debian 12. The passphrase of
// sealed.key is "correct horse"; with little memory (ulimit -v 40000) minisign
// made it one that is opened quickly.

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keys(t *testing.T, names ...string) signature.Keys {
	t.Helper()
	var all signature.Keys
	for _, name := range names {
		ks, err := signature.ParseKeys(name, read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		all = all.With(ks...)
	}
	return all
}

func password(p string) func() (string, error) {
	return func() (string, error) { return p, nil }
}

func notAsked() (string, error) { return "", errors.New("the passphrase was asked for") }

// changed returns a copy in which one string is another.
func changed(t *testing.T, b []byte, old, with string) []byte {
	t.Helper()
	if bytes.Count(b, []byte(old)) != 1 {
		t.Fatalf("%q is not once in %q", old, b)
	}
	return bytes.Replace(b, []byte(old), []byte(with), 1)
}

func TestCheck(t *testing.T) {
	manifest, good := read(t, "manifest.json"), read(t, "plain.minisig")
	lines := strings.SplitAfter(string(good), "\n")
	for name, tt := range map[string]struct {
		keys                []string
		manifest, signature []byte
		want                error  // nil: it is good
		text                string // of the comment or of the error
	}{
		"good":             {keys: []string{"plain.pub"}, text: "image:node\tid:3f2a"},
		"not hashed":       {keys: []string{"plain.pub"}, signature: read(t, "legacy.minisig"), text: "file:manifest.json"},
		"one of two keys":  {keys: []string{"sealed.pub", "plain.pub"}, text: "id:3f2a"},
		"line ends of DOS": {keys: []string{"plain.pub"}, signature: bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), text: "id:3f2a"},

		"wrong key": {
			keys: []string{"sealed.pub"}, want: signature.ErrForeign,
			text: "the signature is of key EC04514FECCC3F55, trusted are: 7280BC5B2F03DBA7",
		},
		"no key":            {want: signature.ErrForeign},
		"missing signature": {keys: []string{"plain.pub"}, signature: []byte{}, want: signature.ErrUnsigned},
		"tampered manifest": {
			keys: []string{"plain.pub"}, manifest: changed(t, manifest, "3f2a", "3f2b"), want: signature.ErrBroken,
			text: "it or the manifest was changed after it was signed (key EC04514FECCC3F55)",
		},
		"longer manifest":       {keys: []string{"plain.pub"}, manifest: append(bytes.Clone(manifest), '\n'), want: signature.ErrBroken},
		"tampered signature":    {keys: []string{"plain.pub"}, signature: changed(t, good, "neScyzOG", "neScyzOH"), want: signature.ErrBroken},
		"tampered comment":      {keys: []string{"plain.pub"}, signature: changed(t, good, "3f2a", "3f2b"), want: signature.ErrBroken},
		"signature of another":  {keys: []string{"plain.pub"}, manifest: []byte("another manifest"), want: signature.ErrBroken},
		"another key's comment": {keys: []string{"plain.pub"}, signature: []byte(lines[0] + lines[1] + strings.Join(strings.SplitAfter(string(read(t, "sealed.minisig")), "\n")[2:], "")), want: signature.ErrBroken},
		// The number of a key is not signed.
		"ID of a trusted key":   {keys: []string{"plain.pub"}, signature: withID(t, read(t, "sealed.minisig"), good), want: signature.ErrBroken},
		"claims to be unhashed": {keys: []string{"plain.pub"}, signature: withAlgorithm(t, good, "Ed"), want: signature.ErrBroken},

		"no signature of minisign": {keys: []string{"plain.pub"}, signature: manifest, text: "not one of minisign"},
		"cut off":                  {keys: []string{"plain.pub"}, signature: []byte(lines[0] + lines[1]), text: "not one of minisign"},
		"a key":                    {keys: []string{"plain.pub"}, signature: read(t, "plain.pub"), text: "not one of minisign"},
		"too long":                 {keys: []string{"plain.pub"}, signature: bytes.Repeat([]byte("a"), signature.MaxSize+1), text: "more than the 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.manifest == nil {
				tt.manifest = manifest
			}
			if tt.signature == nil {
				tt.signature = good
			}
			who, err := keys(t, tt.keys...).Check(tt.manifest, tt.signature)
			if tt.want == nil && err == nil {
				if who.KeyID != "EC04514FECCC3F55" || !strings.Contains(who.Comment, tt.text) {
					t.Errorf("signed by %+v", who)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) || (tt.want != nil && !errors.Is(err, tt.want)) || who != (signature.Signer{}) {
				t.Errorf("%+v, %v; want %v with %q", who, err, tt.want, tt.text)
			}
		})
	}
}

// withID gives a signature the key's ID of another one.
func withID(t *testing.T, sig, of []byte) []byte {
	t.Helper()
	return withBytes(t, sig, func(b []byte) { copy(b[2:10], payload(t, of)[2:10]) })
}

func withAlgorithm(t *testing.T, sig []byte, algorithm string) []byte {
	t.Helper()
	return withBytes(t, sig, func(b []byte) { copy(b, algorithm) })
}

func withBytes(t *testing.T, sig []byte, change func([]byte)) []byte {
	t.Helper()
	b := payload(t, sig)
	change(b)
	lines := strings.SplitAfter(string(sig), "\n")
	lines[1] = base64.StdEncoding.EncodeToString(b) + "\n"
	return []byte(strings.Join(lines, ""))
}

func payload(t *testing.T, sig []byte) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.Split(string(sig), "\n")[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRead(t *testing.T) {
	who, err := signature.Read(read(t, "plain.minisig"))
	if err != nil || who.KeyID != "EC04514FECCC3F55" {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := signature.Read(nil); !errors.Is(err, signature.ErrUnsigned) {
		t.Errorf("nothing: %v", err)
	}
}

func TestParseKeys(t *testing.T) {
	plain, sealed := string(read(t, "plain.pub")), string(read(t, "sealed.pub"))
	line := strings.Split(plain, "\n")[1]
	for name, tt := range map[string]struct {
		text string
		want string // the IDs, or of the error
	}{
		"one":               {plain, "EC04514FECCC3F55"},
		"two":               {plain + sealed, "EC04514FECCC3F55, 7280BC5B2F03DBA7"},
		"the same twice":    {plain + plain, "EC04514FECCC3F55"},
		"a line":            {line, "EC04514FECCC3F55"},
		"remarks and gaps":  {"# of the build farm\n\n  " + line + "\r\n", "EC04514FECCC3F55"},
		"nothing":           {"", "reading keys: file holds no public key: make a pair with \"k8snode keygen\""},
		"only remarks":      {"# none\n", "reading keys: file holds no public key: make a pair with \"k8snode keygen\""},
		"a private key":     {string(read(t, "plain.key")), "reading keys: file:2: it is a private key, which is for nobody else: the public one is wanted"},
		"a signature":       {string(read(t, "plain.minisig")), "reading keys: file:2: it is not a public key of minisign"},
		"text":              {plain + "hello\n", "reading keys: file:3: it is not a public key of minisign, one line of base64"},
		"another algorithm": {"QUFV" + line[4:], "reading keys: file:1: it is not a public key of minisign"},
		"too short":         {line[:52], "reading keys: file:1: it is not a public key of minisign"},
	} {
		t.Run(name, func(t *testing.T) {
			ks, err := signature.ParseKeys("file", []byte(tt.text))
			got := ks.String()
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	manifest := read(t, "manifest.json")
	for name, tt := range map[string]struct {
		text       []byte
		passphrase func() (string, error)
		public     string
		want       string
	}{
		"encrypted":        {read(t, "sealed.key"), password("correct horse"), "sealed.pub", ""},
		"plain":            {read(t, "plain.key"), notAsked, "plain.pub", ""},
		"wrong passphrase": {read(t, "sealed.key"), password("battery staple"), "", "opening file: wrong passphrase, or the file is damaged"},
		"no passphrase":    {read(t, "sealed.key"), notAsked, "", "the passphrase was asked for"},
		"a public key":     {read(t, "plain.pub"), notAsked, "", "reading a key: file is a public one: name the private key that belongs to it"},
		"a manifest":       {manifest, notAsked, "", "reading a key: file is not a private key of minisign: make one with \"k8snode keygen\""},
		"nothing":          {nil, notAsked, "", "reading a key: file is not a private key of minisign: make one with \"k8snode keygen\""},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := signature.Open("file", tt.text, tt.passphrase)
			if tt.want != "" {
				if err == nil || err.Error() != tt.want {
					t.Fatalf("got  %v\nwant %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sig, err := p.Sign(manifest, "id:3f2a")
			if err != nil {
				t.Fatal(err)
			}
			if who, err := keys(t, tt.public).Check(manifest, sig); err != nil || who.Comment != "id:3f2a" {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
}

func TestEncrypted(t *testing.T) {
	for name, want := range map[string]bool{"sealed.key": true, "plain.key": false, "plain.pub": false, "manifest.json": false} {
		if got := signature.Encrypted(read(t, name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A signature that nobody could check is not made.
func TestSignRefuses(t *testing.T) {
	p, err := signature.Open("plain.key", read(t, "plain.key"), notAsked)
	if err != nil {
		t.Fatal(err)
	}
	for _, comment := range []string{"two\nlines", "\x1b[2J", "\r"} {
		if _, err := p.Sign(nil, comment); err == nil || !strings.Contains(err.Error(), "is not one line of text") {
			t.Errorf("%q: %v", comment, err)
		}
	}

	text := read(t, "plain.key")
	b := payload(t, text)
	b[2+2+2+32+8+8+8+40] ^= 1 // in the public half
	damaged := strings.Split(string(text), "\n")[0] + "\n" + base64.StdEncoding.EncodeToString(b) + "\n"
	if p, err = signature.Open("damaged", []byte(damaged), notAsked); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sign(nil, ""); err == nil || !strings.Contains(err.Error(), "the key is damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}

// What we make, minisign takes, and the other way round.
func TestMinisign(t *testing.T) {
	minisign, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("minisign is not installed: scripts/host-packages.sh test installs it")
	}
	p, err := signature.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := p.Seal("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	manifest := read(t, "manifest.json")
	ours, err := p.Sign(manifest, "image:node\tid:3f2a")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"key.pub": p.Public().File(), "key": sealed, "manifest.json": manifest, "manifest.json.minisig": ours, "other.pub": read(t, "plain.pub"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(minisign, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("correct horse\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("-V", "-H", "-m", "manifest.json", "-p", "key.pub")
	if err != nil || !strings.Contains(out, "Trusted comment: image:node\tid:3f2a") {
		t.Errorf("minisign does not take our signature: %v\n%s", err, out)
	}
	if out, err := run("-V", "-m", "manifest.json", "-P", p.Public().String()); err != nil {
		t.Errorf("minisign does not take our key: %v\n%s", err, out)
	}
	if out, err := run("-V", "-m", "manifest.json", "-p", "other.pub"); err == nil {
		t.Errorf("minisign takes our signature with another key:\n%s", out)
	}
	if out, err := run("-S", "-m", "manifest.json", "-s", "key", "-t", "by minisign"); err != nil {
		t.Fatalf("minisign does not take our private key: %v\n%s", err, out)
	}
	theirs, err := os.ReadFile(filepath.Join(dir, "manifest.json.minisig"))
	if err != nil {
		t.Fatal(err)
	}
	if who, err := (signature.Keys{p.Public()}).Check(manifest, theirs); err != nil || who.Comment != "by minisign" {
		t.Errorf("%+v, %v", who, err)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, name := range []string{"plain.pub", "sealed.pub", "plain.key"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ks, err := signature.ParseKeys("fuzz", text)
		if (err == nil) != (len(ks) > 0) {
			t.Fatalf("%d keys, %v", len(ks), err)
		}
		again, err := signature.ParseKeys("again", []byte(strings.Join(ks.Lines(), "\n")))
		if len(ks) > 0 && (err != nil || len(again) != len(ks)) {
			t.Fatalf("%v are read again as %v, %v", ks, again, err)
		}
	})
}

// However a signature is changed, it is none of other bytes.
func FuzzCheck(f *testing.F) {
	text, err := os.ReadFile("testdata/plain.pub")
	if err != nil {
		f.Fatal(err)
	}
	ks, err := signature.ParseKeys("plain.pub", text)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"plain.minisig", "legacy.minisig", "sealed.minisig"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		if _, err := ks.Check([]byte("another manifest"), sig); err == nil {
			t.Fatalf("taken: %q", sig)
		}
	})
}
