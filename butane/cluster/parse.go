package cluster

import "github.com/k8snode/k8snode/internal/strictyaml"

// Parse reads a cluster document, fills in the defaults and checks it. File is
// the name of the document in problems. The error is a report.Problems with
// all that is wrong with the cluster; the cluster is then empty.
func Parse(file string, data []byte) (Cluster, error) {
	schema := strictyaml.Schema[Cluster]{
		APIVersion: APIVersion,
		Kind:       Kind,
		Default:    Cluster.Default,
		Validate:   Cluster.Validate,
	}
	return schema.Parse(file, data)
}
