package builder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
)

// A DifferenceError says that the same inputs gave other bytes.
type DifferenceError struct {
	// Artifact is a path below the output folder, or the name of a step.
	Artifact string
	// Offset of the first byte that differs, -1 when one of them is missing.
	Offset int64
	// Where says what is at the offset, for instance a partition.
	Where string
}

func (e *DifferenceError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("not reproducible: only one of two bakes made %s", e.Artifact)
	}
	msg := fmt.Sprintf("not reproducible: two bakes of %s differ first at byte %d", e.Artifact, e.Offset)
	if e.Where != "" {
		msg += " (" + e.Where + ")"
	}
	return msg
}

// check assembles the image a second time and compares the folders.
func (b *build) check(ctx context.Context, p parts, m images.Manifest) error {
	tmp, err := b.tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// The names of the first run's steps are in the summary already.
	again := &build{o: b.o, dir: b.dir, plan: b.plan}
	if _, err := again.assemble(ctx, p, tmp); err != nil {
		return fmt.Errorf("baking a second time: %w", err)
	}
	return compareFolders(b.o.Out, filepath.Join(tmp, imageDir), m)
}

// compareFolders returns the first difference between the artifacts of two
// output folders.
func compareFolders(a, b string, m images.Manifest) error {
	names := []string{images.ManifestFile, images.SumsFile}
	for _, artifact := range m.Artifacts {
		names = append(names, artifact.Path)
	}
	for _, name := range names {
		offset, err := firstDifference(filepath.Join(a, filepath.FromSlash(name)), filepath.Join(b, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return &DifferenceError{Artifact: name, Offset: -1}
		case err != nil:
			return fmt.Errorf("comparing %s: %w", name, err)
		case offset >= 0:
			return &DifferenceError{Artifact: name, Offset: offset, Where: where(name, offset, m)}
		}
	}
	return nil
}

// where names the partition of the raw image at an offset.
func where(name string, offset int64, m images.Manifest) string {
	if name != images.RawFile {
		return ""
	}
	for _, p := range m.Disk.Partitions {
		if offset >= p.Start && offset < p.Start+p.Size {
			return fmt.Sprintf("byte %d of partition %s", offset-p.Start, p.Label)
		}
	}
	return "outside of the partitions"
}

// firstDifference returns the offset of the first byte that differs, or -1.
func firstDifference(a, b string) (int64, error) {
	fa, err := os.Open(a)
	if err != nil {
		return 0, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return 0, err
	}
	defer fb.Close()
	ra, rb := bufio.NewReaderSize(fa, 1<<20), bufio.NewReaderSize(fb, 1<<20)
	ba, bb := make([]byte, 1<<20), make([]byte, 1<<20)
	var offset int64
	for {
		na, errA := io.ReadFull(ra, ba)
		nb, errB := io.ReadFull(rb, bb)
		for i := range min(na, nb) {
			if ba[i] != bb[i] {
				return offset + int64(i), nil
			}
		}
		if na != nb {
			return offset + int64(min(na, nb)), nil
		}
		offset += int64(na)
		if done(errA) && done(errB) {
			return -1, nil
		}
		if errA != nil || errB != nil {
			return 0, errors.Join(errA, errB)
		}
	}
}

func done(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
