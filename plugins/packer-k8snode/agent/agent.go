// Package agent holds the program k8snode-agent that goes into images, so that
// a plugin is one file. The folder "program" is filled before the plugin is
// compiled; in a plugin that was compiled without it, the program is looked
// for beside the plugin.
package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/builder/source"
)

//go:embed all:program
var embedded embed.FS

const name = "k8snode-agent"

// Path returns the path of the program: the given one, or that of a copy of
// the embedded one in the cache, or of one beside this program.
func Path(given string, cache source.Cache) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("agent: %w", err)
		}
		return given, nil
	}
	content, err := embedded.ReadFile("program/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return beside()
	}
	if err != nil {
		return "", fmt.Errorf("agent: %w", err)
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	file, err := cache.Fetch(context.Background(), name, digest, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return "", fmt.Errorf("agent: %w", err)
	}
	return file, nil
}

func beside() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("agent: %w", err)
	}
	file := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("agent: this plugin was compiled without %s: %w; compile it with \"make plugin\", or name the program", name, err)
	}
	return file, nil
}
