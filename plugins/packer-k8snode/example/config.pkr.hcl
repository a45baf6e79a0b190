# The Ignition config of one node, for a template that hands it on. It holds
# private keys: a local that has sensitive = true keeps it out of Packer's
# output.
packer {
  required_plugins {
    k8snode = {
      source  = "github.com/k8snode/k8snode"
      version = ">= 0.1.0"
    }
  }
}

variable "passphrase" {
  type      = string
  sensitive = true
}

variable "image" {
  type    = string
  default = "output-node"
}

variable "node" {
  type    = string
  default = "cp1"
}

data "k8snode-ignition" "node" {
  cluster    = "${path.root}/cluster.yaml"
  secrets    = "${path.root}/secrets.age"
  passphrase = var.passphrase
  image      = var.image
  node       = var.node
}

local "ignition" {
  expression = data.k8snode-ignition.node.ignition
  sensitive  = true
}

source "null" "config" {
  communicator = "none"
}

build {
  sources = ["source.null.config"]
  provisioner "shell-local" {
    env = {
      IGNITION = local.ignition
    }
    inline = [
      "umask 077; printf %s \"$IGNITION\" >${path.root}/${var.node}.ign",
      "echo ${data.k8snode-ignition.node.role} ${data.k8snode-ignition.node.digest}",
    ]
  }
}
