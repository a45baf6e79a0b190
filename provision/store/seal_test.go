package store

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
)

func TestSeal(t *testing.T) {
	const token, install = "cp1.secret", "install"
	config := []byte(strings.Repeat("a key that nobody may read\n", 1000))
	box, err := seal(rand.Reader, token, install, config)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(box, []byte("a key")) || len(box) > len(config)/10 {
		t.Errorf("the box of %d bytes is plain, or not compressed: %d bytes", len(config), len(box))
	}
	got, err := unseal(token, install, box)
	if err != nil || !bytes.Equal(got, config) {
		t.Errorf("opened: %d bytes, %v", len(got), err)
	}
	changed := bytes.Clone(box)
	changed[len(changed)/2] ^= 1
	for name, try := range map[string]func() ([]byte, error){
		"another token":   func() ([]byte, error) { return unseal("cp1.Secret", install, box) },
		"another install": func() ([]byte, error) { return unseal(token, "other", box) },
		"a changed box":   func() ([]byte, error) { return unseal(token, install, changed) },
		"half a box":      func() ([]byte, error) { return unseal(token, install, box[:len(box)/2]) },
		"an empty box":    func() ([]byte, error) { return unseal(token, install, nil) },
	} {
		if got, err := try(); err == nil || got != nil {
			t.Errorf("%s opened it: %d bytes, %v", name, len(got), err)
		}
	}
	again, err := seal(rand.Reader, token, install, config)
	if err != nil || bytes.Equal(again, box) {
		t.Errorf("the same box twice, %v", err)
	}
}
