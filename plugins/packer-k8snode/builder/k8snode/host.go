package k8snode

import (
	"errors"
	"path/filepath"
	"strings"
	"time"
)

// Host is what a build takes from the machine that it runs on.
type Host struct {
	// Now is the clock.
	Now func() time.Time
	// Environ is the environment, "KEY=value".
	Environ []string
}

func (h Host) getenv(key string) string {
	for _, e := range h.Environ {
		if value, ok := strings.CutPrefix(e, key+"="); ok {
			return value
		}
	}
	return ""
}

// cacheDir is the folder that the command line of k8snode uses as well.
func (h Host) cacheDir() (string, error) {
	if dir := h.getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "k8snode"), nil
	}
	if home := h.getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "k8snode"), nil
	}
	return "", errors.New("cache: neither XDG_CACHE_HOME nor HOME is set: name a folder")
}
