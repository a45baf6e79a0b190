package cluster

import (
	"errors"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/internal/strictyaml"
)

func schema() strictyaml.Schema[Cluster] {
	return strictyaml.Schema[Cluster]{
		APIVersion: APIVersion,
		Kind:       Kind,
		Default:    Cluster.Default,
		Validate:   Cluster.Validate,
	}
}

// Parse reads a cluster document, fills in the defaults and checks it. File is
// the name of the document in problems. The error is a report.Problems with
// all that is wrong with the cluster; the cluster is then empty. Warnings are
// no error: [Lint] returns them.
func Parse(file string, data []byte) (Cluster, error) {
	return schema().Parse(file, data)
}

// Lint is Parse with the warnings. The cluster is worth something only if no
// problem is an error.
func Lint(file string, data []byte) (Cluster, report.Problems) {
	doc, err := schema().Open(file, data)
	var problems report.Problems
	if errors.As(err, &problems) {
		return Cluster{}, problems
	}
	return schema().Check(doc)
}
