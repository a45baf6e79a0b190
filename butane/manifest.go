package butane

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gopkg.in/yaml.v3"
)

// maxManifest bounds a manifest: it is carried by the config of every control
// plane. The largest pod network has half of it.
const maxManifest = 2 << 20

// CheckManifest checks that a file holds objects of Kubernetes.
func CheckManifest(content []byte) error {
	if len(content) > maxManifest {
		return fmt.Errorf("%d bytes are more than the %d of a manifest", len(content), maxManifest)
	}
	objects := 0
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for number := 1; ; number++ {
		var object map[string]any
		err := decoder.Decode(&object)
		switch {
		case errors.Is(err, io.EOF) && objects == 0:
			return errors.New("no object of Kubernetes is in it")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case object == nil:
			continue // Nothing between two separators.
		}
		if object["apiVersion"] == nil || object["kind"] == nil {
			return fmt.Errorf("document %d has no apiVersion or no kind", number)
		}
		objects++
	}
}
