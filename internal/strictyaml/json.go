package strictyaml

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// FromJSON writes a JSON document as YAML, its keys in their order: what a
// program prints as the one it can print as the other.
func FromJSON(text []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("reading a JSON document: %w", err)
	}
	unstyle(&n)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&n); err != nil {
		return nil, fmt.Errorf("writing a document as YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("writing a document as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// unstyle takes the styles of JSON from n. A text that would be read as something
// else is still quoted: the tag of its node says that it is a text.
func unstyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		unstyle(child)
	}
}
