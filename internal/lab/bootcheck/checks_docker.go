package bootcheck

import (
	"fmt"
	"strings"
)

const (
	// quotaMiB is the limit of the container that writes too much.
	quotaMiB = 32
	// ToolsImage is made of the guest's own programs: nothing can be pulled.
	ToolsImage = "k8snode-lab/tools"
)

// ImportTools is a command that gives Docker the image of the test: dd, fallocate,
// sleep and what they are linked with.
const ImportTools = `set -e
root=$(mktemp -d)
for program in /usr/bin/dd /usr/bin/fallocate /usr/bin/sleep; do
	for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
done
tar -C "$root" -c . | docker import - ` + ToolsImage + `
rm -rf "$root"`

// DockerChecks start docker and run containers with it.
func DockerChecks() []Check {
	return []Check{
		{"docker starts", "systemctl start docker.service && docker version --format '{{.Server.Version}}'", nil},
		{"docker takes an image", ImportTools, nil},
		{"a container with a size limit cannot write past it", fmt.Sprintf(`docker run --rm --network none --storage-opt size=%dM %s \
	/usr/bin/dd if=/dev/zero of=/big bs=1M count=%d 2>&1; test $? = 1`, quotaMiB, ToolsImage, 2*quotaMiB), judgeQuota},
		{"a container within its limit can write", fmt.Sprintf(`docker run --rm --network none --storage-opt size=%dM %s \
	/usr/bin/dd if=/dev/zero of=/small bs=1M count=%d 2>&1`, quotaMiB, ToolsImage, quotaMiB/2), nil},
		{"there is one containerd", "pgrep -c -x containerd", equals("1")},
		{"docker and kubelet use that containerd", `set -e
id=$(docker run --detach --network none ` + ToolsImage + ` /usr/bin/sleep 600)
ctr --namespace moby tasks list --quiet | grep -q -x "$id" && echo docker
ctr --namespace k8s.io tasks list --quiet | grep -q . && echo kubelet
docker rm --force "$id" >/dev/null`, contains("docker", "kubelet")},
	}
}

// judgeQuota reads what dd says when the disk is full.
func judgeQuota(got string) error {
	if !strings.Contains(got, "No space left on device") && !strings.Contains(got, "Disk quota exceeded") {
		return fmt.Errorf("dd says %q", abridge(got))
	}
	return nil
}
