package verify

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// CheckVerity checks a file with its hash tree.
func CheckVerity(ctx context.Context, r io.ReaderAt, size int64, rootHash string) error {
	t, err := openVerity(r, size, rootHash)
	if err != nil {
		return err
	}
	t.checkData(ctx, func(part func() error) { err = errors.Join(err, part()) })
	return err
}

// Pseudo shows what a pseudo file has, one line for each entry.
func Pseudo(r io.Reader) ([]string, error) {
	var all []string
	err := readPseudo(bufio.NewReader(r), func(n node) error {
		all = append(all, fmt.Sprintf("%c %s %04o %d:%d %d %d %s", n.kind, n.path, n.mode, n.uid, n.gid, n.modTime, n.size, n.target))
		return nil
	}, func(n node, r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, 2))
		all = append(all, n.path+"="+string(b))
		return err
	})
	return all, err
}

// Initramfs shows what an initramfs has: names and the digests' beginning.
func Initramfs(r io.Reader) ([]string, error) {
	var all []string
	err := readInitramfs(context.Background(), r, func(name string, content io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, content)
		all = append(all, fmt.Sprintf("%s %d %x", usrMerged(name), n, h.Sum(nil)[:2]))
		return err
	})
	return all, err
}

// GRUB shows the entry of a menu.
func GRUB(config string) (string, error) {
	e, err := parseGRUB([]byte(config))
	return fmt.Sprintf("%s|%s|%s", e.kernel, e.cmdline, e.initrd), err
}

// Blocks shows what a list of blocks is, of a partition.
func Blocks(s string, partition string) (string, error) {
	r, err := blockList(s, io.NewSectionReader(strings.NewReader(partition), 0, int64(len(partition))))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(slices.Compact(b)), err
}

// Preset says what the preset files make of a unit.
func Preset(files map[string]string, unit string) string {
	r := preset(presetRules(files), unit)
	return fmt.Sprintf("%t %s %s", r.enable, r.pattern, r.file)
}

// Sysctl reads one line.
func Sysctl(line string) string {
	k, v, ok := sysctlLine(line)
	return fmt.Sprintf("%s|%s|%t", k, v, ok)
}

// Resolve follows the links of a root, which is given as path to target; an
// empty target is a file or a folder.
func Resolve(links map[string]string, p string) (string, bool) {
	fs := rootFS{nodes: map[string]node{}}
	for path, target := range links {
		n := node{path: path, kind: 'R'}
		if target != "" {
			n.kind, n.target = 'S', target
		}
		fs.nodes[path] = n
	}
	n, ok := fs.resolve(p)
	return n.path, ok
}
