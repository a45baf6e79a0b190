# Read by HashiCorp's site: https://developer.hashicorp.com/packer/docs/plugins/creation
integration {
  name        = "k8snode"
  description = "Bakes immutable node images for Kubernetes: no machine is booted, every input is locked, equal inputs give equal bytes."
  identifier  = "packer/k8snode/k8snode"
  component {
    type = "builder"
    name = "k8snode"
    slug = "k8snode"
  }
  component {
    type = "data-source"
    name = "k8snode Ignition"
    slug = "ignition"
  }
  component {
    type = "post-processor"
    name = "k8snode Publish"
    slug = "publish"
  }
}
