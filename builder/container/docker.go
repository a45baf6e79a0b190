package container

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// dockerFile is what "docker load" reads of an archive, where others read
// index.json: as Docker 25 and newer write both.
const dockerFile = "manifest.json"

// dockerManifest names the same files as an OCI index does:
// https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
func dockerManifest(reference string, m *v1.Manifest) ([]byte, error) {
	entry := struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
		Layers   []string `json:"Layers"`
	}{Config: blob(m.Config.Digest), RepoTags: []string{reference}}
	for _, layer := range m.Layers {
		entry.Layers = append(entry.Layers, blob(layer.Digest))
	}
	return json.Marshal([]any{entry})
}

func blob(digest v1.Hash) string { return "blobs/sha256/" + digest.Hex }
