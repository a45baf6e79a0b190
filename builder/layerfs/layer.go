package layerfs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// BlockSize of the data in bytes.
const BlockSize = 256 << 10

// kind of a node, as the type of a basic inode.
type kind uint16

const (
	dir         kind = 1
	file        kind = 2
	symlink     kind = 3
	blockDevice kind = 4
	charDevice  kind = 5
	fifo        kind = 6
	// hardLink is no inode: Target names the node that it is.
	hardLink kind = 0
)

// A node is an entry of a layer's index.
type node struct {
	// Path is relative and clean.
	Path string `json:"p"`
	Kind kind   `json:"k,omitempty"`
	// Mode has the permission bits, set-ID and sticky ones included.
	Mode  uint16            `json:"m,omitempty"`
	UID   uint32            `json:"u,omitempty"`
	GID   uint32            `json:"g,omitempty"`
	MTime uint32            `json:"t,omitempty"`
	Xattr map[string][]byte `json:"x,omitempty"`
	// Target of a symbolic or hard link.
	Target string `json:"l,omitempty"`
	// Device is the number of a device, as the kernel encodes it.
	Device uint32 `json:"d,omitempty"`

	// Size of a file. Its data is in Blocks, which begin at Start of the
	// layer's data, or in a fragment.
	Size   int64    `json:"s,omitempty"`
	Start  int64    `json:"a,omitempty"`
	Blocks []uint32 `json:"b,omitempty"`
	// Fragment counts from 1; 0 is none. Offset is within it.
	Fragment int    `json:"f,omitempty"`
	Offset   uint32 `json:"o,omitempty"`
}

// Words for the size of a block.
const (
	stored   = 1 << 24 // not compressed
	zeroSize = 0       // a block of zeros, which is not there
)

// A fragment is a block that holds small files.
type fragment struct {
	Start int64  `json:"a"`
	Size  uint32 `json:"s"`
}

// index is what a layer knows of its data.
type index struct {
	Nodes     []node     `json:"nodes"`
	Fragments []fragment `json:"fragments"`
}

// The end of a packed layer: the length of its data, and the magic.
const (
	trailerSize = 16
	magic       = "k8sqfs01"
)

// writeIndex ends a packed layer whose data is written.
func writeIndex(w io.Writer, x index, data int64) error {
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	enc, err := newEncoder(3)
	if err != nil {
		return err
	}
	b = enc.EncodeAll(b, nil)
	b = binary.LittleEndian.AppendUint64(b, uint64(data))
	_, err = w.Write(append(b, magic...))
	return err
}

// A Layer is a packed layer, open for reading.
type Layer struct {
	name  string
	file  *os.File
	data  int64 // length
	index index
}

// Open opens a packed layer.
func Open(name string) (*Layer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the layer: %w", err)
	}
	l := &Layer{name: name, file: f}
	if err := l.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the layer %q: %w", name, err)
	}
	return l, nil
}

// Close closes the file.
func (l *Layer) Close() error { return l.file.Close() }

func (l *Layer) read() error {
	st, err := l.file.Stat()
	if err != nil {
		return err
	}
	end := make([]byte, trailerSize)
	if st.Size() < trailerSize {
		return errors.New("it is too short")
	}
	if _, err := l.file.ReadAt(end, st.Size()-trailerSize); err != nil {
		return err
	}
	l.data = int64(binary.LittleEndian.Uint64(end))
	if string(end[8:]) != magic || l.data < 0 || l.data > st.Size()-trailerSize {
		return errors.New("it is not a packed layer")
	}
	packed := make([]byte, st.Size()-trailerSize-l.data)
	if _, err := l.file.ReadAt(packed, l.data); err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer dec.Close()
	b, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return fmt.Errorf("reading its index: %w", err)
	}
	if err := json.Unmarshal(b, &l.index); err != nil {
		return fmt.Errorf("reading its index: %w", err)
	}
	return nil
}

// newEncoder makes frames that the kernel's decompressor, which has a window of
// one block, can read.
func newEncoder(level int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(BlockSize))
}
