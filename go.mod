module github.com/k8snode/k8snode

go 1.26
