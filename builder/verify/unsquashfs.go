package verify

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/builder/source"
)

// A node is one entry of the root file system.
type node struct {
	// path is absolute.
	path string
	// kind is that of the pseudo file: D folder, R file, S symbolic link, L
	// hard link, B and C devices, I others.
	kind     byte
	modTime  int64
	mode     uint32
	uid, gid int
	size     int64
	// target of a symbolic link; of a hard link, the absolute path of the file.
	target string
}

// unpackRoot reads a whole squashfs with unsquashfs: first every entry, which
// goes to list, then the content of every file in the same order, which goes
// to content. What content does not read is skipped.
//
// The tool's "pseudo file" (mksquashfs(1), PSEUDO FILE DEFINITIONS) is the one
// form in which it gives all this in a single pass and without writing files.
func unpackRoot(ctx context.Context, p piece, jobs int, env []string, list func(node) error, content func(node, io.Reader) error) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// A larger pipe means fewer turns; any size will do.
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	cmd := exec.CommandContext(ctx, "unsquashfs", "-no-progress", "-processors", strconv.Itoa(jobs),
		"-data-queue", "32", "-frag-queue", "32", "-offset", strconv.FormatInt(p.offset, 10), "-pseudo-file", "/dev/fd/3", p.file)
	cmd.Env = append(slices.Clone(env), "TZ=UTC", "LC_ALL=C")
	cmd.ExtraFiles = []*os.File{w}
	done := make(chan error, 1)
	go func() {
		_, err := source.Run(cmd)
		w.Close() //nolint:errcheck // the reader sees the end
		done <- err
	}()
	readErr := readPseudo(bufio.NewReaderSize(r, chunkSize), list, content)
	// Whoever still writes, stops.
	r.Close() //nolint:errcheck // only read
	runErr := <-done
	if err := ctx.Err(); err != nil {
		return err
	}
	var failed *source.CommandError
	if errors.As(runErr, &failed) && readErr == nil || runErr != nil && errors.Is(readErr, io.ErrUnexpectedEOF) {
		if errors.As(runErr, &failed) {
			why := strings.TrimPrefix(lastLine(failed.Output), "FATAL ERROR: ")
			return fmt.Errorf("unsquashfs cannot read it: %s", strings.ReplaceAll(why, p.file, p.artifact))
		}
		return runErr
	}
	if readErr != nil {
		return fmt.Errorf("reading it with unsquashfs: %w", readErr)
	}
	return runErr
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

const startOfData = "# START OF DATA - DO NOT MODIFY"

func readPseudo(r *bufio.Reader, list func(node) error, content func(node, io.Reader) error) error {
	var files []node
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return unexpected(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == startOfData {
			break
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n, ok, err := parsePseudo(line)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := list(n); err != nil {
			return err
		}
		if n.kind == 'R' {
			files = append(files, n)
		}
	}
	// The data begins behind one more line, "#".
	if line, err := r.ReadString('\n'); err != nil || line != "#\n" {
		if err == nil {
			err = fmt.Errorf("%q is before the data", line)
		}
		return unexpected(err)
	}
	for _, n := range files {
		data := io.LimitedReader{R: r, N: n.size}
		if err := content(n, &data); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, &data, data.N); err != nil {
			return fmt.Errorf("reading %s: %w", n.path, unexpected(err))
		}
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parsePseudo parses one definition. Extended attributes are left out.
func parsePseudo(line string) (node, bool, error) {
	bad := func() (node, bool, error) { return node{}, false, fmt.Errorf("%q is no line of a pseudo file", line) }
	name, rest := cutName(line)
	if len(rest) < 2 {
		return bad()
	}
	n := node{path: absolute(name), kind: rest[0]}
	switch n.kind {
	case 'x':
		return node{}, false, nil
	case 'L':
		target, _ := cutName(rest[2:])
		n.target = absolute(target)
		return n, true, nil
	}
	f := strings.SplitN(rest, " ", 6)
	if len(f) < 5 {
		return bad()
	}
	mode, err0 := strconv.ParseUint(f[2], 8, 32)
	modTime, err1 := strconv.ParseInt(f[1], 10, 64)
	uid, err2 := strconv.Atoi(f[3])
	gid, err3 := strconv.Atoi(f[4])
	if errors.Join(err0, err1, err2, err3) != nil {
		return bad()
	}
	n.mode, n.modTime, n.uid, n.gid = uint32(mode), modTime, uid, gid
	switch {
	case n.kind == 'S' && len(f) == 6:
		n.target = f[5]
	case n.kind == 'R' && len(f) == 6:
		size, _, _ := strings.Cut(f[5], " ")
		var err error
		if n.size, err = strconv.ParseInt(size, 10, 64); err != nil || n.size < 0 {
			return bad()
		}
	}
	return n, true, nil
}

func absolute(name string) string { return "/" + strings.TrimPrefix(name, "/") }

// cutName cuts the name off a line, in which spaces and backslashes have a
// backslash before them.
func cutName(line string) (name, rest string) {
	if !strings.Contains(line, `\`) {
		name, rest, _ = strings.Cut(line, " ")
		return name, rest
	}
	var b bytes.Buffer
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case line[i] == ' ':
			return b.String(), line[i+1:]
		default:
			b.WriteByte(line[i])
		}
	}
	return b.String(), ""
}
