package seed_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/seed"
)

const (
	mib      = 1 << 20
	rootGUID = "00112233-4455-6677-8899-aabbccddeeff"
)

func rootBytes() [16]byte {
	return [16]byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
}

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

// image makes a disk of the machine an image with a seed.
func image(t *testing.T, root, name, payload string) {
	t.Helper()
	table := disktest.GPT(
		disktest.Partition{Label: "k8snode-seed", Start: mib, Size: mib},
		disktest.Partition{Label: "k8snode-root", GUID: rootBytes(), Start: 2 * mib, Size: mib},
	)
	content := make([]byte, 3*mib)
	copy(content, table)
	if payload != "" {
		data, err := seed.Encode([]byte(payload), mib)
		if err != nil {
			t.Fatal(err)
		}
		copy(content[mib:], data)
	}
	content[mib-1], content[2*mib] = 0x77, 0x77 // the neighbours
	if err := os.WriteFile(filepath.Join(root, "dev", name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExtractAndScrub(t *testing.T) {
	root := disktest.Machine(t,
		disktest.Disk{Name: "loop0", Size: 3 * mib},
		disktest.Disk{Name: "sda", Size: 3 * mib},
		disktest.Disk{Name: "sdb", Size: 3 * mib},
	)
	image(t, root, "loop0", "not a disk")
	image(t, root, "sdb", "stub")

	p, err := seed.Locate(root, "00112233-4455-6677-8899-AABBCCDDEEFF")
	if err != nil {
		t.Fatal(err)
	}
	if want := (seed.Partition{Device: filepath.Join(root, "dev/sdb"), Offset: mib, Size: mib}); p != want {
		t.Fatalf("got %+v, want %+v", p, want)
	}

	run := t.TempDir()
	out, marker := filepath.Join(run, "k8snode/user.ign"), filepath.Join(run, "k8snode/firstboot")
	if err := seed.Extract(p, out, marker); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of %s is %v, %v", out, info.Mode(), err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "stub" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Error(err)
	}

	if err := seed.Scrub(p, out, filepath.Join(run, "absent")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(p.Device)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content[mib:2*mib], make([]byte, mib)) {
		t.Error("the seed partition is not all zeros")
	}
	if content[mib-1] != 0x77 || content[2*mib] != 0x77 {
		t.Error("scrubbing touched the neighbours")
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", out, err)
	}

	// The next boot: nothing to do, nothing made.
	os.Remove(marker)
	if err := seed.Extract(p, out, marker); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{out, marker} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s exists: %v", path, err)
		}
	}
}

func TestLocatePrefersThePartitionDevice(t *testing.T) {
	root := disktest.Machine(t, disktest.Disk{
		Name: "sda", Size: 3 * mib,
		Attributes: map[string]string{"sda1/partition": "1", "sda2/partition": "2"},
	})
	image(t, root, "sda", "stub")
	if err := os.WriteFile(filepath.Join(root, "dev/sda1"), make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := seed.Locate(root, rootGUID)
	if want := (seed.Partition{Device: filepath.Join(root, "dev/sda1"), Size: mib}); err != nil || p != want {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
}

func TestLocateErrors(t *testing.T) {
	root := disktest.Machine(t, disktest.Disk{Name: "sda", Size: 3 * mib}, disktest.Disk{Name: "sdb", Size: 3 * mib})
	want := "locating seed partition: no disk has the root partition " + rootGUID
	if _, err := seed.Locate(root, rootGUID); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	image(t, root, "sda", "a")
	image(t, root, "sdb", "b")
	want = "locating seed partition: several disks have the root partition " + rootGUID +
		" (" + root + "/dev/sda, " + root + "/dev/sdb): erase or remove the ones that this machine shall not boot"
	if _, err := seed.Locate(root, rootGUID); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestExtractCorrupt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "partition")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	out := path + ".out"
	err := seed.Extract(seed.Partition{Device: path}, out, out)
	if !errors.Is(err, seed.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Error("a corrupt seed made a file")
	}
	missing := seed.Partition{Device: path + ".missing"}
	if err := seed.Scrub(missing); err == nil {
		t.Error("a missing device was scrubbed")
	}
	if _, err := os.Stat(missing.Device); !os.IsNotExist(err) {
		t.Error("scrubbing made the missing device a file")
	}
}
