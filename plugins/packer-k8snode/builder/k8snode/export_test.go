package k8snode

import "io"

// NewArtifact makes the artifact of an image.
var NewArtifact = newArtifact

// ReadTar unpacks what came out of a root.
func ReadTar(r io.Reader, dir string, exclude []string) error { return readTar(r, dir, exclude) }

// WriteTar packs a folder for a root.
func WriteTar(w io.Writer, dir string, exclude []string) error { return writeTar(w, dir, exclude) }
