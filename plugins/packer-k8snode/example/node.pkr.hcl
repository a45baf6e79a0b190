# The node image with Kubernetes, and the config of one of its nodes.
packer {
  required_plugins {
    k8snode = {
      source  = "github.com/k8snode/k8snode"
      version = ">= 0.1.0"
    }
  }
}

variable "offline" {
  type    = bool
  default = false
}

variable "output" {
  type    = string
  default = "output-node"
}

source "k8snode" "node" {
  recipe           = "node"
  output_directory = var.output
  offline          = var.offline
  reproducible     = true
}

build {
  sources = ["k8snode.node"]
}
