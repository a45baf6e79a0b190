package butane

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Variant and Version of the documents.
const (
	Variant = "flatcar"
	Version = "1.1.0"
)

// A Document is the subset of a Butane document that nodes need. Field names
// are Butane's: https://coreos.github.io/butane/config-flatcar-v1_1/.
type Document struct {
	Variant string  `yaml:"variant"`
	Version string  `yaml:"version"`
	Passwd  *Passwd `yaml:"passwd,omitempty"`
	Storage Storage `yaml:"storage"`
	Systemd Systemd `yaml:"systemd"`
}

// Passwd holds users.
type Passwd struct {
	Users []User `yaml:"users"`
}

// User is an account that Ignition makes.
type User struct {
	Name              string   `yaml:"name"`
	HomeDir           string   `yaml:"home_dir"`
	Shell             string   `yaml:"shell"`
	Groups            []string `yaml:"groups"`
	SSHAuthorizedKeys []string `yaml:"ssh_authorized_keys"`
}

// Storage holds disks, file systems and files.
type Storage struct {
	Disks       []Disk       `yaml:"disks"`
	Filesystems []Filesystem `yaml:"filesystems"`
	Directories []Directory  `yaml:"directories,omitempty"`
	Files       []File       `yaml:"files"`
}

// Disk is a disk whose other partitions stay as they are.
type Disk struct {
	Device     string      `yaml:"device"`
	WipeTable  bool        `yaml:"wipe_table"`
	Partitions []Partition `yaml:"partitions"`
}

// Partition is a GPT entry; a SizeMiB of zero takes the rest of the disk.
type Partition struct {
	Label  string `yaml:"label"`
	Number int    `yaml:"number"`
	// SizeMiB is 0 for all that is left, and nil for one that is there, whatever its
	// size.
	SizeMiB *int `yaml:"size_mib,omitempty"`
	// WipePartitionEntry replaces an entry of this number that differs.
	WipePartitionEntry bool `yaml:"wipe_partition_entry"`
}

// Filesystem is made on a partition; with a Path it is mounted there, by
// Ignition while it writes files and by a unit from then on.
type Filesystem struct {
	Device         string   `yaml:"device"`
	Format         string   `yaml:"format"`
	Label          string   `yaml:"label"`
	WipeFilesystem bool     `yaml:"wipe_filesystem"`
	Path           string   `yaml:"path,omitempty"`
	MountOptions   []string `yaml:"mount_options,omitempty"`
	WithMountUnit  bool     `yaml:"with_mount_unit,omitempty"`
}

// Directory is a folder.
type Directory struct {
	Path  string `yaml:"path"`
	Mode  Mode   `yaml:"mode"`
	User  *Owner `yaml:"user,omitempty"`
	Group *Owner `yaml:"group,omitempty"`
}

// File is a regular file; it replaces one of the image.
type File struct {
	Path      string   `yaml:"path"`
	Overwrite bool     `yaml:"overwrite"`
	Mode      Mode     `yaml:"mode"`
	User      *Owner   `yaml:"user,omitempty"`
	Group     *Owner   `yaml:"group,omitempty"`
	Contents  Contents `yaml:"contents"`
}

// Owner is a user or a group by number: names are made later, by
// systemd-sysusers on the first boot.
type Owner struct {
	ID int `yaml:"id"`
}

// Contents of a File.
type Contents struct {
	Inline string `yaml:"inline"`
}

// Systemd holds units.
type Systemd struct {
	Units []Unit `yaml:"units"`
}

// Unit is a unit of the image, unless it has contents.
type Unit struct {
	Name     string   `yaml:"name"`
	Enabled  bool     `yaml:"enabled,omitempty"`
	Contents string   `yaml:"contents,omitempty"`
	Dropins  []Dropin `yaml:"dropins,omitempty"`
}

// Dropin changes a unit.
type Dropin struct {
	Name     string `yaml:"name"`
	Contents string `yaml:"contents"`
}

// Mode is a file mode. It is written in octal, as Butane wants it.
type Mode int

// MarshalYAML implements yaml.Marshaler.
func (m Mode) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%#04o", int(m))}, nil
}

// File returns the file at path.
func (d Document) File(path string) (File, bool) {
	for _, f := range d.Storage.Files {
		if f.Path == path {
			return f, true
		}
	}
	return File{}, false
}

// Marshal returns the document as YAML.
func (d Document) Marshal() ([]byte, error) {
	content, err := marshalYAML(d)
	if err != nil {
		return nil, fmt.Errorf("writing the Butane document: %w", err)
	}
	return content, nil
}

// marshalYAML writes documents as a YAML stream.
func marshalYAML(documents ...any) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, d := range documents {
		if err := encoder.Encode(d); err != nil {
			return nil, err
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
