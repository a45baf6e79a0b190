package bootstrap

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

const recordPath = node.StateDir + "/kubeadm.json"

func (b *bootstrapper) readRecord() (*Record, error) {
	data, err := os.ReadFile(b.path(recordPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", recordPath, err)
	}
	if r.Action != ActionInit && r.Action != ActionJoin {
		return nil, fmt.Errorf("reading %s: action %q is unknown", recordPath, r.Action)
	}
	return &r, nil
}

func (b *bootstrapper) writeRecord(r Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(b.path(recordPath), append(data, '\n'), 0o600)
}

// leftovers are files that make kubeadm's preflight checks fail.
func (b *bootstrapper) leftovers() ([]string, error) {
	patterns := []string{
		"/etc/kubernetes/kubelet.conf",
		"/etc/kubernetes/bootstrap-kubelet.conf",
		"/etc/kubernetes/manifests/*.yaml",
	}
	if b.opts.Config.Role == node.Worker {
		// A join fetches it; on a control plane it is ours.
		patterns = append(patterns, kubePKIDir+"/ca.crt")
	}
	var found []string
	for _, p := range patterns {
		paths, err := filepath.Glob(b.path(p))
		if err != nil {
			return nil, err
		}
		found = append(found, paths...)
	}
	return found, nil
}

// copyPKI copies the files of from into to. Keys get mode 0600, certificates
// 0644, whatever the source has.
func copyPKI(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if filepath.Ext(path) == ".crt" {
			mode = 0o644
		}
		return atomicfile.Write(target, data, mode)
	})
}

// shred overwrites a file before it removes it; one that does not exist is
// done.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("shredding: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close(), os.Remove(path)); err != nil {
		return fmt.Errorf("shredding: %w", err)
	}
	return nil
}

// clientCertificate finds the certificate of a kubeconfig without a YAML
// parser; it is only for a warning.
var clientCertificate = regexp.MustCompile(`client-certificate-data"?:\s*"?([A-Za-z0-9+/=]+)`)

// certificatesBegin returns the NotBefore of the node's own certificate.
func (b *bootstrapper) certificatesBegin() (time.Time, bool) {
	var data []byte
	var err error
	if b.opts.Config.Role == node.ControlPlane {
		data, err = os.ReadFile(b.path(node.PKIDir + "/apiserver-etcd-client.crt"))
	} else {
		data, err = os.ReadFile(b.path(node.Discovery))
		if m := clientCertificate.FindSubmatch(data); m != nil {
			data, err = base64.StdEncoding.DecodeString(string(m[1]))
		}
	}
	if err != nil {
		return time.Time{}, false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return time.Time{}, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, false
	}
	return cert.NotBefore, true
}
