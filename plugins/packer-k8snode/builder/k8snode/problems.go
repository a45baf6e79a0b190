package k8snode

import (
	"fmt"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// problems collects what is wrong with a configuration.
type problems struct{ packersdk.MultiError }

func (p *problems) addf(format string, args ...any) {
	p.Errors = append(p.Errors, fmt.Errorf(format, args...))
}

func (p *problems) err() error {
	if len(p.Errors) == 0 {
		return nil
	}
	return &p.MultiError
}
