# A small image, with and without provisioners.
packer {
  required_plugins {
    k8snode = {
      source  = "github.com/k8snode/k8snode"
      version = ">= 0.1.0"
    }
  }
}

source "k8snode" "edge" {
  recipe = "${path.root}/recipes/edge.yaml"
  set = {
    "spec.sysctls.vm.swappiness" = "10"
  }
  outputs = ["zstd", "pxe"]
}

# The bytes of "k8snode bake" with the same recipe, overrides and lock.
build {
  name = "plain"
  source "k8snode.edge" {
    output_directory = "output-plain"
    reproducible     = true
  }
  post-processor "checksum" {
    checksum_types = ["sha256"]
    output         = "output-plain.{{.ChecksumType}}"
  }
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
  post-processor "shell-local" {
    inline = ["echo image ${build.ImageID} has kernel ${build.Kernel}"]
  }
}

# What Packer's provisioners change is in the manifest of the image.
build {
  name = "provisioned"
  source "k8snode.edge" {
    output_directory = "output-provisioned"
  }
  provisioner "file" {
    content     = "welcome\n"
    destination = "/etc/motd"
  }
  provisioner "shell" {
    inline = [
      "sed -i 's/Debian/an edge host, &/' /etc/issue",
      "echo 'enable systemd-timesyncd.service' >/usr/lib/systemd/system-preset/50-edge.preset",
    ]
  }
}
