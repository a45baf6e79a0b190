// Package ignition is Packer's data source k8snode-ignition: the config of one
// node of a cluster, as "k8snode render" makes it.
//
// The config holds private keys, and Packer's data sources cannot mark what
// they return as sensitive: the template does, with a local that has
// sensitive = true. What the plugin itself logs goes through the filter that
// Packer's SDK has for secrets.
//
// Start with [Datasource].
package ignition
