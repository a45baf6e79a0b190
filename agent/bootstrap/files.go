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
		bootstrapConf,
		"/etc/kubernetes/manifests/*.yaml",
	}
	if b.opts.Config.Role == node.Worker {
		// A join fetches it; on a control plane it is ours.
		patterns = append(patterns, node.KubePKIDir+"/ca.crt")
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
// parser; it is only for messages.
var clientCertificate = regexp.MustCompile(`client-certificate-data"?:\s*"?([A-Za-z0-9+/=]+)`)

// ownCertificate returns that with which the node first speaks to its cluster, nil
// if it cannot be read.
func (b *bootstrapper) ownCertificate() *x509.Certificate {
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
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// checkCredential says why a node cannot join any more: API servers answer nothing
// but "Unauthorized" to a credential that has ended.
func (b *bootstrapper) checkCredential() error {
	cert, now := b.ownCertificate(), b.opts.Now()
	if cert == nil || !now.After(cert.NotAfter) {
		return nil
	}
	return fmt.Errorf("the credential of this node ended at %s, and it is %s: deliver its config again (k8snode arm %s, or k8snode render)",
		cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), b.opts.Config.Name)
}
