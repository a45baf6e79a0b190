package k8snode

import (
	"fmt"
	"os"
	"path/filepath"

	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/k8snode/k8snode/images"
)

// Names of the data that post-processors find as build.NAME.
const (
	dataImageID    = "ImageID"
	dataKernel     = "Kernel"
	dataKubernetes = "Kubernetes"
)

// Keys of [Artifact.State], beside Packer's own.
const (
	// StateManifest is the manifest as JSON.
	StateManifest = "k8snode.manifest"
	// stateGenerated is where Packer looks for what build.NAME is.
	stateGenerated = "generated_data"
)

// Artifact is a baked image.
type Artifact struct {
	dir      string
	manifest images.Manifest
	files    []string
}

func newArtifact(dir string, m images.Manifest) *Artifact {
	a := &Artifact{dir: dir, manifest: m}
	for _, f := range m.Artifacts {
		a.files = append(a.files, filepath.Join(dir, filepath.FromSlash(f.Path)))
	}
	a.files = append(a.files, filepath.Join(dir, images.ManifestFile), filepath.Join(dir, images.SumsFile))
	return a
}

// BuilderId names the builder.
func (a *Artifact) BuilderId() string { return BuilderID } //nolint:revive,staticcheck // Packer's spelling

// Files are all files of the image.
func (a *Artifact) Files() []string { return a.files }

// Id is the image's ID: two images with one ID hold the same bytes.
func (a *Artifact) Id() string { return a.manifest.ID } //nolint:revive,staticcheck // Packer's spelling

func (a *Artifact) String() string {
	text := fmt.Sprintf("image %s in %s, kernel %s", a.manifest.ID, a.dir, a.manifest.Kernel)
	if a.manifest.Kubernetes != "" {
		text += ", Kubernetes " + a.manifest.Kubernetes
	}
	if n := len(a.manifest.Provisioned); n > 0 {
		text += fmt.Sprintf(", %d files changed by provisioners", n)
	}
	return text
}

// State returns what is known of the image beyond its files.
func (a *Artifact) State(name string) any {
	switch name {
	case stateGenerated:
		return a.generated()
	case StateManifest:
		return a.manifestJSON()
	case registryimage.ArtifactStateURI:
		return &registryimage.Image{
			ImageID: a.manifest.ID, ProviderName: "k8snode", ProviderRegion: "local", Labels: a.labels(),
		}
	}
	return nil
}

func (a *Artifact) generated() map[string]any {
	return map[string]any{
		dataImageID: a.manifest.ID, dataKernel: a.manifest.Kernel, dataKubernetes: a.manifest.Kubernetes,
	}
}

// labels are shown in a registry of artifacts.
func (a *Artifact) labels() map[string]string {
	labels := map[string]string{
		"recipe": a.manifest.Name, "kernel": a.manifest.Kernel, "ignition": a.manifest.Ignition.Version,
	}
	if a.manifest.Kubernetes != "" {
		labels["kubernetes"] = a.manifest.Kubernetes
	}
	for _, f := range a.manifest.Artifacts {
		labels["sha256 "+f.Path] = f.SHA256
	}
	if n := len(a.manifest.Provisioned); n > 0 {
		labels["provisioned"] = fmt.Sprint(n)
	}
	return labels
}

// Destroy removes the image.
func (a *Artifact) Destroy() error { return os.RemoveAll(a.dir) }

// manifestJSON is the manifest as it is in the folder. It goes through gob,
// which knows no types of ours.
func (a *Artifact) manifestJSON() string {
	b, err := os.ReadFile(filepath.Join(a.dir, images.ManifestFile))
	if err != nil {
		return ""
	}
	return string(b)
}
