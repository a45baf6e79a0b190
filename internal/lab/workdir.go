package lab

import (
	"fmt"
	"os"
)

// NewWorkDir makes the folder of a run, or takes one that is empty: what an
// earlier run left must not pass for this one's.
func NewWorkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the work folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the work folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("the work folder %s is not empty", dir)
	}
	return nil
}
