package chroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// The commands that move files run in the root, so that a link leads where it
// leads there. What they print is the reason of an error.

// Write writes a file, and the folders above it that are missing.
func (r Root) Write(ctx context.Context, name string, content io.Reader, mode fs.FileMode) error {
	return r.move(ctx, "writing "+name, Command{
		Line:  `set -e; mkdir -p -- "$(dirname -- "$1")"; cat >"$1"; chmod "$2" -- "$1"`,
		Args:  []string{name, fmt.Sprintf("%04o", mode.Perm())},
		Stdin: content,
	})
}

// Read writes the content of a file to w.
func (r Root) Read(ctx context.Context, name string, w io.Writer) error {
	return r.move(ctx, "reading "+name, Command{Line: `exec cat -- "$1"`, Args: []string{name}, Stdout: w})
}

// WriteTar unpacks an archive in a folder, which is made if it is missing.
// Everything in it belongs to root.
func (r Root) WriteTar(ctx context.Context, folder string, archive io.Reader) error {
	return r.move(ctx, "writing "+folder, Command{
		Line:  `set -e; mkdir -p -- "$1"; exec tar --extract --no-same-owner --no-overwrite-dir --file=- --directory="$1"`,
		Args:  []string{folder},
		Stdin: archive,
	})
}

// ReadTar writes an archive of a folder's content to w.
func (r Root) ReadTar(ctx context.Context, folder string, w io.Writer) error {
	return r.move(ctx, "reading "+folder, Command{
		Line: `exec tar --create --file=- --directory="$1" .`, Args: []string{folder}, Stdout: w,
	})
}

func (r Root) move(ctx context.Context, what string, c Command) error {
	var reason bytes.Buffer
	c.Stderr = &reason
	err := r.Run(ctx, c)
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("%s in the root: %w: %s", what, err, strings.TrimSpace(reason.String()))
	}
	if err != nil {
		return fmt.Errorf("%s in the root: %w", what, err)
	}
	return nil
}
