package images

import (
	"path"
	"strings"
)

// AgentPath is where k8snode-agent lies in the root.
const AgentPath = "/usr/bin/k8snode-agent"

// ImageKeysPath is where the initramfs has the keys of [Spec.ImageKeys], in
// the form of [signature.ParseKeys].
const ImageKeysPath = "/etc/k8snode/image-keys"

// ContainerPath is where the archive of a container image lies in the root,
// without a leading slash: in a folder for the role that imports it.
func ContainerPath(c Container) string {
	name := strings.NewReplacer("/", "_", ":", "_").Replace(c.Reference) + ".tar"
	return path.Join("usr/share/k8snode/images", c.Role, name)
}
