package cluster

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// UnmarshalYAML reads the form of [time.ParseDuration], for instance "8760h".
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	parsed, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		return fmt.Errorf("wanted a duration like 8760h, got %q", n.Value)
	}
	*d = Duration(parsed)
	return nil
}

// String returns the duration as kubeadm writes it, for instance "8760h0m0s".
func (d Duration) String() string {
	return time.Duration(d).String()
}
