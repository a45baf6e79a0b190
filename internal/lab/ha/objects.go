package ha

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// objectLabel marks the objects of [Cluster.WriteObjects].
const objectLabel = "k8snode-lab"

type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   objectMeta        `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
}

type objectMeta struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// WriteObjects writes so many ConfigMaps.
func (c *Cluster) WriteObjects(ctx context.Context, count int) error {
	var all bytes.Buffer
	for i := range count {
		name := fmt.Sprintf("object-%d", i)
		one, err := json.Marshal(object{
			APIVersion: "v1", Kind: "ConfigMap",
			Metadata: objectMeta{Name: name, Labels: map[string]string{objectLabel: "yes"}},
			Data:     map[string]string{"name": name},
		})
		if err != nil {
			return err
		}
		all.Write(append(one, '\n'))
	}
	_, err := c.Kubectl.Run(ctx, all.Bytes(), "create", "-f", "-")
	return err
}

// CheckObjects sees that so many ConfigMaps are there, each with its content.
func (c *Cluster) CheckObjects(ctx context.Context, count int) error {
	var list struct {
		Items []object `json:"items"`
	}
	if err := c.Kubectl.Get(ctx, &list, "configmaps", "--selector", objectLabel); err != nil {
		return err
	}
	for _, o := range list.Items {
		if o.Data["name"] != o.Metadata.Name {
			return fmt.Errorf("the ConfigMap %s holds %q", o.Metadata.Name, o.Data)
		}
	}
	if len(list.Items) != count {
		return fmt.Errorf("there are %d of %d ConfigMaps", len(list.Items), count)
	}
	return nil
}
