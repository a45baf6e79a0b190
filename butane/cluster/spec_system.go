package cluster

// Runtime is what runs containers.
type Runtime struct {
	// Name is containerd, or docker (through cri-dockerd).
	Name string `yaml:"name"`
	// ContainerQuotaGiB limits what one container writes to its own file
	// system, for docker. With containerd, limit the ephemeral-storage of pods.
	ContainerQuotaGiB int `yaml:"containerQuotaGiB"`
	// Registries are those that need a mirror, an authority or less security.
	Registries []Registry `yaml:"registries"`
}

// Registry says how one registry is reached.
type Registry struct {
	// Host is the name in references, with its port if that has one.
	Host string `yaml:"host"`
	// Mirrors are URLs that are tried first.
	Mirrors []string `yaml:"mirrors"`
	// CA is the certificate of the authority that signed the registry's and
	// its mirrors', PEM.
	CA string `yaml:"ca"`
	// Insecure does not check certificates, and tries plain HTTP for docker.
	Insecure bool `yaml:"insecure"`
}

// System is what is the operating system's.
type System struct {
	// Sysctls add to those of the image, or replace them.
	Sysctls map[string]string `yaml:"sysctls"`
	// KernelModules are loaded at boot, besides those of the image.
	KernelModules []string `yaml:"kernelModules"`
	// Units are added, or changed by drop-ins.
	Units []Unit `yaml:"units"`
	// Files are added.
	Files []File `yaml:"files"`
	// Mounts are file systems of the network.
	Mounts []Mount `yaml:"mounts"`
}

// Unit is a systemd unit, new or of the image.
type Unit struct {
	// Name with its suffix: tuning.service.
	Name string `yaml:"name"`
	// Enabled starts it at boot.
	Enabled bool `yaml:"enabled"`
	// Contents is the unit file; empty for a unit of the image.
	Contents string `yaml:"contents"`
	// Dropins change a unit.
	Dropins []Dropin `yaml:"dropins"`
	// Roles are the roles of the nodes that get it; empty means all.
	Roles []Role `yaml:"roles"`
}

// Dropin is a part of a unit file.
type Dropin struct {
	// Name ends in .conf.
	Name string `yaml:"name"`
	// Contents is the text of it.
	Contents string `yaml:"contents"`
}

// File is a file of root's. It is not for secrets: this document has none.
type File struct {
	// Path is absolute, in /etc or /var.
	Path string `yaml:"path"`
	// Mode is 0644 unless set.
	Mode uint32 `yaml:"mode"`
	// Contents is the text of it.
	Contents string `yaml:"contents"`
	// Roles are the roles of the nodes that get it; empty means all.
	Roles []Role `yaml:"roles"`
}

// Mount is a network file system. A node boots without it, too.
type Mount struct {
	// Path is where it is mounted, below /var: all else is read-only.
	Path string `yaml:"path"`
	// Type is nfs or ceph.
	Type string `yaml:"type"`
	// Source is server:/path, for ceph addresses:/path.
	Source string `yaml:"source"`
	// Options are mount options; _netdev, nofail and noatime are always set.
	// For ceph: name=USER, and secretfile=FILE where the secret of the
	// user is.
	Options []string `yaml:"options"`
	// Roles are the roles of the nodes that get it; empty means all.
	Roles []Role `yaml:"roles"`
}
