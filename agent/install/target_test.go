package install_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/install"
)

// A watchedTarget is a disk with a fault, or a witness of what is written.
type watchedTarget struct {
	disk.Target
	beforeWrite func(p []byte, offset int64) error
	afterRead   func(p []byte, offset int64)
}

func (w watchedTarget) WriteAt(p []byte, offset int64) (int, error) {
	if w.beforeWrite != nil {
		if err := w.beforeWrite(p, offset); err != nil {
			return 0, err
		}
	}
	return w.Target.WriteAt(p, offset)
}

func (w watchedTarget) ReadAt(p []byte, offset int64) (int, error) {
	n, err := w.Target.ReadAt(p, offset)
	if w.afterRead != nil {
		w.afterRead(p, offset)
	}
	return n, err
}

func (l *lab) watch(w watchedTarget) {
	l.opts.Open = func(path string) (disk.Target, error) {
		target, err := disk.Open(path)
		w.Target = target
		return w, err
	}
}

// At the moment in which the disk becomes bootable, everything else is on it.
func TestHeadIsWrittenLast(t *testing.T) {
	for _, seedAt := range []int64{2 * blockSize, 64 << 10} {
		l := newLab(t, seedAt)
		heads, afterHead := 0, false
		l.watch(watchedTarget{beforeWrite: func(p []byte, offset int64) error {
			if afterHead {
				t.Errorf("a write at %d came after the head", offset)
			}
			if offset >= 4096 {
				l.wantUnbootable()
				return nil
			}
			heads++
			afterHead = true
			want := l.installed()
			clear(want[:4096])
			if at := firstDifference(l.disk("sda"), want); at >= 0 {
				t.Errorf("before the head is written the disk differs at byte %d", at)
			}
			if !bytes.Equal(p, l.installed()[:4096]) {
				t.Error("the head is not that of the image, with the table of the disk")
			}
			return nil
		}})
		// Zeroing does not pass through WriteAt of the wrapper.
		if err := install.Run(context.Background(), l.opts); err != nil {
			t.Fatal(err)
		}
		if heads != 1 {
			t.Errorf("the head was written %d times", heads)
		}
	}
}

// The power goes at every write in turn; what is left never boots.
func TestPowerCutAtEveryWrite(t *testing.T) {
	for cut := 1; ; cut++ {
		l := newLab(t, 2*blockSize)
		var writes atomic.Int32
		l.watch(watchedTarget{beforeWrite: func([]byte, int64) error {
			if int(writes.Add(1)) >= cut {
				return errors.New("power cut")
			}
			return nil
		}})
		err := install.Run(context.Background(), l.opts)
		if err == nil {
			// Seven blocks, the rest of the first, the stub, the backup table, the head.
			if cut != 12 {
				t.Errorf("the install made %d writes, want 11", cut-1)
			}
			return
		}
		l.wantFailure(err, "power cut")
		l.wantUnbootable()
	}
}

func TestDefectiveDisk(t *testing.T) {
	for _, tt := range []struct {
		name   string
		offset func(*lab) int64
		want   string
	}{
		{"block", func(l *lab) int64 { return l.blocks.Blocks[3].Offset }, "byte range at 3145728 differs from what was written: the disk is defective"},
		{"first block", func(*lab) int64 { return 0 }, "byte range at 0 differs from what was written: the disk is defective"},
		{"stub", func(l *lab) int64 { return l.seedAt }, "byte range at 1048576 differs from what was written: the disk is defective"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2*blockSize)
			l.watch(watchedTarget{afterRead: func(p []byte, offset int64) {
				if offset == tt.offset(l) {
					p[len(p)-1] ^= 1
				}
			}})
			l.wantFailure(install.Run(context.Background(), l.opts), tt.want)
			l.wantUnbootable()
		})
	}
}

// A head that cannot be read back makes the disk bootable for a moment.
func TestDefectiveHead(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.watch(watchedTarget{afterRead: func(p []byte, offset int64) {
		if offset == 0 && len(p) == 4096 {
			p[0] ^= 1
		}
	}})
	l.wantFailure(install.Run(context.Background(), l.opts), "byte range at 0 differs")
	l.wantErased()
}

// A selfSigned server has its own authority, unlike those of httptest, which
// share one.
type selfSigned struct {
	url, ca, otherCA string
	requests         atomic.Int32
	handler          http.HandlerFunc
}

func newSelfSigned(t *testing.T) *selfSigned {
	t.Helper()
	s := &selfSigned{}
	var pair tls.Certificate
	for _, ca := range []*string{&s.otherCA, &s.ca} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		*ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if s.handler != nil {
			s.handler(w, r)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func TestDeviceNode(t *testing.T) {
	l := newLab(t, 2*blockSize)
	want := filepath.Join(l.root, "dev/sda")
	var got []string
	l.opts.Open = func(path string) (disk.Target, error) {
		got = append(got, path)
		return disk.Open(path)
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	// Once to write, once for the kernel to read the table.
	if len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("opened %q, want %q twice", got, want)
	}
}
