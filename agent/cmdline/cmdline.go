package cmdline

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The words, with their equals sign.
const (
	wordRoot   = "k8snode.root="
	wordVerity = "k8snode.verity="
	wordState  = "k8snode.state="
	wordDisk   = "k8snode.disk="
	wordConfig = "ignition.config.url="
	wordMedium = "k8snode.medium="
)

// A Kind is a place where the bytes of the root are.
type Kind string

// The kinds of k8snode.root=.
const (
	// Partition is a partition of an installed disk: partuuid:GUID.
	Partition Kind = "partuuid"
	// Medium is the file RootOnMedium of the file system with a label, a CD
	// or a USB stick: label:LABEL.
	Medium Kind = "label"
	// File is a file of the initramfs: file:PATH.
	File Kind = "file"
	// Remote is fetched into memory: an http or https URL.
	Remote Kind = "url"
)

// RootOnMedium is the path of the root on a CD or USB stick.
const RootOnMedium = "/live/rootfs.squashfs"

// A State is where what can be written lives: /var and what changes in /etc.
type State string

// The values of k8snode.state=.
const (
	// Disk is the state partition; it survives a reboot.
	Disk State = "disk"
	// Tmpfs is memory: every boot is a first boot.
	Tmpfs State = "tmpfs"
)

// Args are the words of one boot.
type Args struct {
	Root   Root
	Verity Verity
	// State is never empty; it is Disk by default for an installed disk and
	// Tmpfs for everything else.
	State State
	// DiskGUID is the GUID of the partition table that the running image came
	// with, lower-case; only an installed disk has one.
	DiskGUID string
	// ConfigURL is where Ignition finds its config, or empty.
	ConfigURL string
}

// Root says where the bytes of the root are.
type Root struct {
	Kind Kind
	// Value is a lower-case GUID, a label, an absolute path or a URL.
	Value string
}

// String returns the value of the word.
func (r Root) String() string {
	if r.Kind == Remote {
		return r.Value
	}
	return string(r.Kind) + ":" + r.Value
}

// Verity says what the bytes of the root must be.
type Verity struct {
	// RootHash is 64 lower-case hexadecimal digits.
	RootHash string
	// HashOffset is where the superblock of the hash tree begins, in bytes: a
	// positive multiple of BlockSize, and the size of the file system before
	// it.
	HashOffset int64
}

// BlockSize is the size of a verity block, of data and of hashes.
const BlockSize = 4096

// maxHashOffset bounds the size of a root, 1 TiB: sums of sizes never overflow.
const maxHashOffset = 1 << 40

var (
	guidForm  = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

// Parse reads the kernel command line.
func Parse(line string) (Args, error) {
	words := split(line)
	args, err := parse(words)
	if err != nil {
		return Args{}, fmt.Errorf("reading the kernel command line: %w: "+
			"correct it in the boot menu or the boot script", err)
	}
	return args, nil
}

// MediumLabel returns the label of the file system that an installer was started from,
// which has no root, or the empty string where the words name none.
func MediumLabel(line string) (string, error) {
	label := last(split(line), wordMedium)
	if label != "" && !labelForm.MatchString(label) {
		return "", fmt.Errorf("reading the kernel command line: %s%s is not a volume label", wordMedium, label)
	}
	return label, nil
}

func parse(words []string) (Args, error) {
	var args Args
	var problems []string // one line on a console
	var err error
	if args.Root, err = parseRoot(last(words, wordRoot)); err != nil {
		problems = append(problems, err.Error())
	}
	if args.Verity, err = parseVerity(last(words, wordVerity)); err != nil {
		problems = append(problems, err.Error())
	}
	installed := args.Root.Kind == Partition
	switch state := State(last(words, wordState)); {
	case state == "" && installed:
		args.State = Disk
	case state == "":
		args.State = Tmpfs
	case state == Disk || state == Tmpfs:
		args.State = state
	default:
		problems = append(problems, fmt.Sprintf("%s%s is neither disk nor tmpfs", wordState, state))
	}
	args.DiskGUID = last(words, wordDisk)
	if installed || args.DiskGUID != "" {
		if !guidForm.MatchString(args.DiskGUID) {
			problems = append(problems, fmt.Sprintf("%s%s is not a lower-case GUID", wordDisk, args.DiskGUID))
		}
	}
	args.ConfigURL = last(words, wordConfig)
	if len(problems) > 0 {
		return Args{}, errors.New(strings.Join(problems, "; "))
	}
	return args, nil
}

func parseRoot(value string) (Root, error) {
	if value == "" {
		return Root{}, fmt.Errorf("%s is missing", wordRoot)
	}
	kind, rest, _ := strings.Cut(value, ":")
	switch Kind(kind) {
	case Partition:
		if !guidForm.MatchString(rest) {
			return Root{}, fmt.Errorf("%s%s is not a lower-case partition GUID", wordRoot, value)
		}
		return Root{Partition, rest}, nil
	case Medium:
		if !labelForm.MatchString(rest) {
			return Root{}, fmt.Errorf("%s%s is not a volume label", wordRoot, value)
		}
		return Root{Medium, rest}, nil
	case File:
		if !path.IsAbs(rest) || path.Clean(rest) != rest || rest == "/" {
			return Root{}, fmt.Errorf("%s%s is not the absolute path of a file", wordRoot, value)
		}
		return Root{File, rest}, nil
	}
	if kind == "http" || kind == "https" {
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			return Root{}, fmt.Errorf("%s%s is not a URL", wordRoot, value)
		}
		return Root{Remote, value}, nil
	}
	return Root{}, fmt.Errorf("%s%s begins with none of partuuid:, label:, file:, http:// and https://", wordRoot, value)
}

func parseVerity(value string) (Verity, error) {
	if value == "" {
		return Verity{}, fmt.Errorf("%s is missing", wordVerity)
	}
	hash, offset, _ := strings.Cut(value, ":")
	sum, err := hex.DecodeString(hash)
	if err != nil || len(sum) != 32 || strings.ToLower(hash) != hash {
		return Verity{}, fmt.Errorf("%s%s does not begin with a root hash of 64 lower-case hexadecimal digits", wordVerity, value)
	}
	n, err := strconv.ParseInt(offset, 10, 64)
	if err != nil || n <= 0 || n > maxHashOffset || n%BlockSize != 0 {
		return Verity{}, fmt.Errorf("%s%s does not end in an offset in bytes that is a multiple of %d", wordVerity, value, BlockSize)
	}
	return Verity{RootHash: hash, HashOffset: n}, nil
}

// last returns what follows prefix in the last word that has it.
func last(words []string, prefix string) string {
	value := ""
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, prefix); ok {
			value = v
		}
	}
	return value
}

// split splits the line as the kernel does: at spaces that are not between
// double quotes, which are dropped. Everything after "--" is for init.
func split(line string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			flush()
		default:
			word.WriteRune(c)
		}
	}
	flush()
	for i, w := range words {
		if w == "--" {
			return words[:i]
		}
	}
	return words
}
