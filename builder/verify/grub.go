package verify

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// grubEntry is what a menu of GRUB starts.
type grubEntry struct{ kernel, initrd, cmdline string }

// parseGRUB reads the one entry of a grub.cfg. It knows GRUB's single quotes
// and nothing more: a file that needs more is not ours.
func parseGRUB(config []byte) (grubEntry, error) {
	var e grubEntry
	entries := 0
	lines := bufio.NewScanner(bytes.NewReader(config))
	for lines.Scan() {
		words, err := grubWords(lines.Text())
		if err != nil {
			return grubEntry{}, err
		}
		if len(words) == 0 {
			continue
		}
		switch {
		case words[0] == "menuentry":
			entries++
		case words[0] == "linux" && len(words) > 1:
			e.kernel, e.cmdline = words[1], strings.Join(words[2:], " ")
		case words[0] == "initrd" && len(words) == 2:
			e.initrd = words[1]
		}
	}
	if entries != 1 || e.kernel == "" || e.initrd == "" {
		return grubEntry{}, fmt.Errorf("it has %d entries, kernel %q and initramfs %q: want one of each", entries, e.kernel, e.initrd)
	}
	return e, lines.Err()
}

func grubWords(line string) ([]string, error) {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil, nil
	}
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, begun = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		case !quoted && (c == '"' || c == '\\'):
			return nil, fmt.Errorf("%q is more than it should have", line)
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("%q lacks a quote", line)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// checkGRUB checks a menu: its command line, and what it starts. Block lists
// are of the partition; other names are files.
func (v *verifier) checkGRUB(files fs.FS, name, artifact, cmdline string, partition *io.SectionReader) error {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	e, err := parseGRUB(b)
	if err != nil {
		return fmt.Errorf("reading /%s: %w", name, err)
	}
	if e.cmdline != cmdline {
		v.add(artifact, bakeAgain, "GRUB's menu has the command line %q, and it should be %q", e.cmdline, cmdline)
	}
	if partition == nil {
		for _, file := range []string{e.kernel, e.initrd} {
			if _, err := fs.Stat(files, strings.TrimPrefix(file, "/")); err != nil {
				return fmt.Errorf("GRUB's menu: %w", err)
			}
		}
		return nil
	}
	kernel, err := blockList(e.kernel, partition)
	if err != nil {
		return fmt.Errorf("GRUB's kernel: %w", err)
	}
	initrd, err := blockList(e.initrd, partition)
	if err != nil {
		return fmt.Errorf("GRUB's initramfs: %w", err)
	}
	v.kernels = append(v.kernels, piece{artifact: artifact, what: "the kernel that GRUB starts", r: kernel, size: kernel.Size(), padded: true})
	v.initrds = append(v.initrds, piece{artifact: artifact, what: "the initramfs that GRUB loads", r: initrd, size: initrd.Size(), padded: true})
	return nil
}

// blockList returns what "($root)START+COUNT" means, in sectors of 512 bytes.
func blockList(s string, partition *io.SectionReader) (*io.SectionReader, error) {
	const sector = 512
	first, count, ok := strings.Cut(strings.TrimPrefix(s, "($root)"), "+")
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || !ok || !strings.HasPrefix(s, "($root)") {
		return nil, fmt.Errorf("%q is not a list of blocks", s)
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if limit := partition.Size() / sector; err != nil || n <= 0 || start < 0 || start > limit || n > limit-start {
		return nil, fmt.Errorf("%q is not in the partition", s)
	}
	return io.NewSectionReader(partition, start*sector, n*sector), nil
}
