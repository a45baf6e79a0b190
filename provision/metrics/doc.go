// Package metrics counts what the provisioning server does, for Prometheus.
//
// The flow: [New] takes the nodes; [Metrics.Boot], [Metrics.Machine] and
// [Metrics.Operator] go around the handlers of the server's sides;
// [Metrics.Audited] is told each event of the audit and [Metrics.Reached] each
// phase that a node reaches; [Metrics.Handler] serves all of it as text.
//
// Promises:
//   - The number of series does not grow with the fleet, unless
//     [Options.PerNode] says so, and never with what a request holds: labels
//     have the values of a list, and "other".
//   - What is counted of nodes is read when it is asked for; a store that
//     cannot be read makes k8snode_store_up 0, and the rest is served.
//   - To count costs a transfer nothing: files still go from the disk to the
//     network without a detour.
//   - No series holds a name, an address or a message of a machine, but for the
//     names with PerNode.
//
// docs/grafana/k8snode.json is a dashboard for it. With several servers on one
// store each knows all nodes: take the maximum of what is of nodes, and the sum
// of what is of requests.
//
// Start with [New].
package metrics
