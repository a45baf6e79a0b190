package operate

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/butane/pki"
)

// OfBundle are the certificates of the authorities.
func OfBundle(b pki.Bundle) ([]Certificate, error) {
	authorities, err := b.Authorities()
	if err != nil {
		return nil, err
	}
	var all []Certificate
	for _, a := range authorities {
		all = append(all, Certificate{"authority " + a.Name, a.NotAfter})
	}
	return all, nil
}

// OfRendered are the certificates that end first, of each config in a folder
// that "k8snode render" wrote.
func OfRendered(folder fs.FS) ([]Certificate, error) {
	names, err := fs.Glob(folder, "*.ign")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("there is no config (*.ign) in the folder")
	}
	var all []Certificate
	for _, name := range names {
		content, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, err
		}
		found, err := ofConfig(content)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if len(found) == 0 {
			continue
		}
		first := slices.MinFunc(found, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		first.Of = "rendered " + path.Base(name) + ", " + first.Of
		all = append(all, first)
	}
	return all, nil
}

// ofConfig finds the certificates in the files of an Ignition config: blocks of
// PEM, and those in kubeconfigs.
func ofConfig(config []byte) ([]Certificate, error) {
	var c struct {
		Storage struct {
			Files []struct {
				Path     string `json:"path"`
				Contents struct {
					Source      string `json:"source"`
					Compression string `json:"compression"`
				} `json:"contents"`
			} `json:"files"`
		} `json:"storage"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	var all []Certificate
	for _, f := range c.Storage.Files {
		content, ok := inline(f.Contents.Source)
		if ok && f.Contents.Compression == "gzip" {
			content, ok = gunzip(content)
		}
		if !ok {
			continue
		}
		for _, cert := range certificates(content) {
			all = append(all, Certificate{f.Path, cert.NotAfter})
		}
	}
	return all, nil
}

// inline returns the content of a data URL, RFC 2397.
func inline(source string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(source, "data:")
	if !ok {
		return nil, false
	}
	kind, data, ok := strings.Cut(rest, ",")
	if !ok {
		return nil, false
	}
	if strings.HasSuffix(kind, ";base64") {
		content, err := base64.StdEncoding.DecodeString(data)
		return content, err == nil
	}
	content, err := url.PathUnescape(data)
	return []byte(content), err == nil
}

// maxFile bounds a file of a config.
const maxFile = 1 << 20

func gunzip(content []byte) ([]byte, bool) {
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFile))
	return plain, err == nil
}

func certificates(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, cert)
		}
	}
	for _, word := range strings.Fields(string(content)) {
		if decoded, err := base64.StdEncoding.DecodeString(strings.Trim(word, `",`)); err == nil && strings.HasPrefix(string(decoded), "-----BEGIN CERTIFICATE") {
			all = append(all, certificates(decoded)...)
		}
	}
	return all
}
