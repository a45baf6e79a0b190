package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
)

// SquashfsOptions are the inputs of [Squashfs].
type SquashfsOptions struct {
	// Base is the archive that [Base] made, Top what lies over it.
	Base string
	Top  tree.Tree
	// Level of zstd, 1 to 22.
	Level int
	Epoch time.Time
	// Work is a folder; the result is in it.
	Work string
	// Jobs limits the compressor's threads; zero is one for each processor.
	Jobs int
	Env  []string
}

// Squashfs packs the root and returns the path of the file system image.
func Squashfs(ctx context.Context, o SquashfsOptions) (string, error) {
	out := filepath.Join(o.Work, "root.squashfs")
	cmd := exec.CommandContext(ctx, "mksquashfs", o.args(out)...)
	cmd.Env = append(slices.Clone(o.Env), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Epoch.Unix()))
	base, err := os.Open(o.Base)
	if err != nil {
		return "", err
	}
	defer base.Close()

	r, w := io.Pipe()
	overlaid := make(chan error, 1)
	go func() {
		err := tree.Overlay(w, base, o.Top, Keep, o.Epoch)
		w.CloseWithError(err)
		overlaid <- err
	}()
	cmd.Stdin = r
	_, err = source.Run(cmd)
	r.CloseWithError(io.ErrClosedPipe)
	// A packer that dies closes the pipe; any other failure of the writer is
	// the cause of the packer's.
	if treeErr := <-overlaid; treeErr != nil && !errors.Is(treeErr, io.ErrClosedPipe) {
		err = treeErr
	}
	if err != nil {
		return "", fmt.Errorf("packing the root: %w", err)
	}
	return out, nil
}

func (o SquashfsOptions) args(out string) []string {
	args := []string{
		"-", out, "-tar", "-noappend",
		"-comp", "zstd", "-Xcompression-level", strconv.Itoa(o.Level), "-b", "256K", "-no-progress", "-quiet",
	}
	if o.Jobs > 0 {
		args = append(args, "-processors", strconv.Itoa(o.Jobs))
	}
	return args
}
