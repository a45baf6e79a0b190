package seed_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/agent/seed"
)

const mib = 1 << 20

func TestEncode(t *testing.T) {
	got, err := seed.Encode([]byte("hi"), 46)
	if err != nil {
		t.Fatal(err)
	}
	want := "K8SSEED1\x00\x00\x00\x02" +
		"\x8f\x43\x43\x46\x64\x8f\x6b\x96\xdf\x89\xdd\xa9\x01\xc5\x17\x6b\x10\xa6\xd8\x39\x61\xdd\x3c\x1a\xc8\x8b\x59\xb2\xdc\x32\x7a\xa4" + "hi"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := seed.Encode([]byte("hi!"), 46); err == nil || err.Error() != "encoding seed: payload of 3 bytes does not fit into a partition of 46 bytes" {
		t.Errorf("got %v", err)
	}
	if _, err := seed.Encode(nil, 46); err == nil || err.Error() != "encoding seed: payload is empty" {
		t.Errorf("got %v", err)
	}
}

func TestDecode(t *testing.T) {
	whole, err := seed.Encode([]byte(`{"ignition":{}}`), 4096)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(whole)
		b[at] = to
		return b
	}
	for _, tt := range []struct {
		name    string
		data    []byte
		want    string
		wantErr string
		is      error
	}{
		{name: "whole", data: whole, want: `{"ignition":{}}`},
		{name: "with a rest", data: append(bytes.Clone(whole), 1, 2, 3), want: `{"ignition":{}}`},
		{name: "zeros", data: make([]byte, 4096), wantErr: "seed partition is empty", is: seed.ErrEmpty},
		{name: "magic", data: change(7, '2'), wantErr: "seed partition is corrupt: no magic number", is: seed.ErrCorrupt},
		{name: "half erased", data: append(make([]byte, 8), whole[8:]...), wantErr: "seed partition is corrupt: no magic number", is: seed.ErrCorrupt},
		{name: "payload", data: change(50, 'X'), wantErr: "seed partition is corrupt: digest does not match", is: seed.ErrCorrupt},
		{name: "short length", data: change(11, 3), wantErr: "seed partition is corrupt: digest does not match", is: seed.ErrCorrupt},
		{name: "no length", data: change(11, 0), wantErr: "seed partition is corrupt: length 0 is out of range", is: seed.ErrCorrupt},
		{name: "long length", data: change(8, 0xff), wantErr: "seed partition is corrupt: length 4278190095 is out of range", is: seed.ErrCorrupt},
		{name: "small partition", data: whole[:20], wantErr: "seed partition is corrupt: 20 bytes are too few for a header", is: seed.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := seed.Decode(bytes.NewReader(tt.data), int64(len(tt.data)))
			if tt.wantErr == "" {
				if err != nil || string(got) != tt.want {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err == nil || err.Error() != tt.wantErr || !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %s", err, tt.wantErr)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	whole, _ := seed.Encode([]byte("payload"), 100)
	f.Add(whole)
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		payload, err := seed.Decode(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		again, err := seed.Encode(payload, int64(len(data)))
		if err != nil || !bytes.HasPrefix(data, again) {
			t.Errorf("a seed that decodes does not encode to itself: %v", err)
		}
	})
}

func TestErase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0x77}, 3*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := seed.Erase(seed.Partition{Device: path, Offset: mib, Size: mib}); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{0x77}, 3*mib)
	clear(want[mib : 2*mib])
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Erase did not clear exactly the partition: %v", err)
	}
	missing := seed.Partition{Device: path + ".missing"}
	if err := seed.Erase(missing); err == nil {
		t.Error("a missing device was erased")
	}
	if _, err := os.Stat(missing.Device); !os.IsNotExist(err) {
		t.Error("erasing made the missing device a file")
	}
}
