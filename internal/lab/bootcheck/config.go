package bootcheck

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/ignition/render"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/provision/api"
)

// specVersion is that of the configs below.
const specVersion = "3.4.0"

// ignitionConfig is the subset of Ignition's config that is written here:
// https://coreos.github.io/ignition/configuration-v3_4/.
type ignitionConfig struct {
	Ignition struct {
		Version string         `json:"version"`
		Config  *ignitionMerge `json:"config,omitempty"`
	} `json:"ignition"`
	Storage *ignitionStorage `json:"storage,omitempty"`
	Systemd *ignitionSystemd `json:"systemd,omitempty"`
}

type ignitionMerge struct {
	Merge []ignitionResource `json:"merge"`
}

type ignitionResource struct {
	Source string `json:"source"`
}

type ignitionStorage struct {
	Files []ignitionFile `json:"files"`
}

type ignitionFile struct {
	Path      string           `json:"path"`
	Overwrite bool             `json:"overwrite"`
	Mode      int              `json:"mode"`
	Contents  ignitionResource `json:"contents"`
}

type ignitionSystemd struct {
	Units []ignitionUnit `json:"units"`
}

type ignitionUnit struct {
	Name     string `json:"name"`
	Enabled  bool   `json:"enabled"`
	Contents string `json:"contents"`
}

// dataURL is a resource that needs no network.
func dataURL(content []byte) ignitionResource {
	return ignitionResource{Source: "data:;base64," + base64.StdEncoding.EncodeToString(content)}
}

func file(path string, mode int, content string) ignitionFile {
	return ignitionFile{Path: path, Overwrite: true, Mode: mode, Contents: dataURL([]byte(content))}
}

// labConfig makes a guest answer on its serial port, and writes more files.
func labConfig(files ...ignitionFile) ([]byte, error) {
	var c ignitionConfig
	c.Ignition.Version = specVersion
	c.Storage = &ignitionStorage{Files: append([]ignitionFile{file(lab.GuestScriptPath, 0o700, lab.GuestScript())}, files...)}
	c.Systemd = &ignitionSystemd{Units: []ignitionUnit{{Name: lab.GuestUnitName, Enabled: true, Contents: lab.GuestUnit()}}}
	return json.Marshal(c)
}

// hostname is the config of a machine's name.
func hostname(name string) ignitionFile { return file("/etc/hostname", 0o644, name+"\n") }

// merged lays configs over one another, the last on top.
func merged(configs ...[]byte) ([]byte, error) {
	var c ignitionConfig
	c.Ignition.Version = specVersion
	c.Ignition.Config = &ignitionMerge{}
	for _, config := range configs {
		c.Ignition.Config.Merge = append(c.Ignition.Config.Merge, dataURL(config))
	}
	return json.Marshal(c)
}

// liveConfig is for a boot that keeps nothing.
func liveConfig(name string) ([]byte, error) { return labConfig(hostname(name)) }

// firstPartition is the number of the first one that Ignition makes.
const firstPartition = 5

// stateMiB is enough for /var without containers.
const stateMiB = 2048

// diskConfig is for an installed disk: the partitions of a worker, and nothing
// of Kubernetes.
func diskConfig(name string) ([]byte, error) {
	const byLabel = "/dev/disk/by-partlabel/"
	text, err := butane.Document{
		Variant: butane.Variant,
		Version: butane.Version,
		Storage: butane.Storage{
			Disks: []butane.Disk{{Device: butane.DiskDevice, Partitions: []butane.Partition{
				{Label: images.LabelState, Number: firstPartition, SizeMiB: stateMiB, WipePartitionEntry: true},
				{Label: images.LabelContainers, Number: firstPartition + 1, WipePartitionEntry: true},
			}}},
			Filesystems: []butane.Filesystem{
				{Device: byLabel + images.LabelState, Format: "xfs", Label: "state", WipeFilesystem: true},
				{
					Device: byLabel + images.LabelContainers, Format: "xfs", Label: "containers", WipeFilesystem: true,
					Path: containersDir, MountOptions: []string{"prjquota"}, WithMountUnit: true,
				},
			},
		},
	}.Marshal()
	if err != nil {
		return nil, err
	}
	disk, err := render.Render("disk.bu", text)
	if err != nil {
		return nil, fmt.Errorf("rendering the config of the disk: %w", err)
	}
	more, err := liveConfig(name)
	if err != nil {
		return nil, err
	}
	return merged(disk.Bytes(), more)
}

// nodeConfig is a rendered node that answers to the lab. It has no server to
// report to: without a usable report configuration it does not wait for one.
func nodeConfig(rendered []byte) ([]byte, error) {
	more, err := labConfig(file(api.ReportPath, 0o600, "{}\n"))
	if err != nil {
		return nil, err
	}
	return merged(rendered, more)
}
