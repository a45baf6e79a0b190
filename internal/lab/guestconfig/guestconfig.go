// Package guestconfig writes what a test machine's Ignition config has besides
// the node's own: how the guest answers to the lab, and what its kind of
// machine needs.
//
// [Config] is a subset of Ignition's config, [Answering] one that makes a guest
// answer, [Merge] lays configs over one another. It checks nothing: Ignition
// does, and a golden file.
package guestconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/k8snode/k8snode/internal/lab"
)

// specVersion is that of the configs.
const specVersion = "3.4.0"

// Config is the subset of Ignition's config that is written here:
// https://coreos.github.io/ignition/configuration-v3_4/.
type Config struct {
	Ignition Ignition `json:"ignition"`
	Storage  *Storage `json:"storage,omitempty"`
	Systemd  *Systemd `json:"systemd,omitempty"`
}

// Ignition has the version, and other configs.
type Ignition struct {
	Version string  `json:"version"`
	Config  *Merged `json:"config,omitempty"`
}

// Merged are configs that are laid over one another.
type Merged struct {
	Merge []Resource `json:"merge"`
}

// A Resource is content, as a URL.
type Resource struct {
	Source      string `json:"source"`
	Compression string `json:"compression,omitempty"`
}

// Content is that of a data URL, RFC 2397, as Butane writes them.
func (r Resource) Content() ([]byte, error) {
	rest, ok := strings.CutPrefix(r.Source, "data:")
	kind, data, found := strings.Cut(rest, ",")
	if !ok || !found {
		return nil, fmt.Errorf("%q is no data URL", r.Source)
	}
	content, err := base64.StdEncoding.DecodeString(data)
	if !strings.HasSuffix(kind, ";base64") {
		var plain string
		plain, err = url.PathUnescape(data)
		content = []byte(plain)
	}
	if err != nil {
		return nil, err
	}
	if r.Compression != "gzip" {
		return content, nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpacked)
}

// Storage has the files.
type Storage struct {
	Files []File `json:"files"`
}

// A File is written to the guest's root.
type File struct {
	Path      string   `json:"path"`
	Overwrite bool     `json:"overwrite"`
	Mode      int      `json:"mode"`
	Contents  Resource `json:"contents"`
}

// Systemd has the units.
type Systemd struct {
	Units []Unit `json:"units"`
}

// A Unit is written and enabled.
type Unit struct {
	Name     string `json:"name"`
	Enabled  bool   `json:"enabled"`
	Contents string `json:"contents"`
}

// Inline is a resource that needs no network.
func Inline(content []byte) Resource {
	return Resource{Source: "data:;base64," + base64.StdEncoding.EncodeToString(content)}
}

// NewFile is a file of a guest, which takes the place of what is there.
func NewFile(path string, mode int, content string) File {
	return File{Path: path, Overwrite: true, Mode: mode, Contents: Inline([]byte(content))}
}

// Answering makes a guest answer on its port, one of [lab.QEMUPort] and
// [lab.UMLPort].
func Answering(port string) Config {
	return Config{
		Ignition: Ignition{Version: specVersion},
		Storage:  &Storage{Files: []File{NewFile(lab.GuestScriptPath, 0o700, lab.GuestScript())}},
		Systemd:  &Systemd{Units: []Unit{{Name: lab.GuestUnitName, Enabled: true, Contents: lab.GuestUnit(port)}}},
	}
}

// With returns c with more files.
func (c Config) With(files ...File) Config {
	storage := Storage{}
	if c.Storage != nil {
		storage.Files = append(storage.Files, c.Storage.Files...)
	}
	storage.Files = append(storage.Files, files...)
	c.Storage = &storage
	return c
}

// Marshal returns the config as Ignition reads it.
func (c Config) Marshal() ([]byte, error) { return json.Marshal(c) }

// Merge lays configs over one another, the last on top.
func Merge(configs ...[]byte) ([]byte, error) {
	c := Config{Ignition: Ignition{Version: specVersion, Config: &Merged{}}}
	for _, config := range configs {
		c.Ignition.Config.Merge = append(c.Ignition.Config.Merge, Inline(config))
	}
	return c.Marshal()
}
