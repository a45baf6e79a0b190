package install_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/images"
)

var sum = strings.Repeat("ab", 32)

func block(offset, length, storedOffset, storedLength int64) images.Block {
	return images.Block{Offset: offset, Length: length, SHA256: sum, StoredOffset: storedOffset, StoredLength: storedLength}
}

func blockMap(blocks ...images.Block) images.BlockMap {
	return images.BlockMap{Version: 1, Size: 8 * mib, Blocks: blocks}
}

func TestNewLayout(t *testing.T) {
	for _, tt := range []struct {
		name    string
		blocks  images.BlockMap
		size    int64
		want    install.Layout
		wantErr string
	}{
		{
			name:   "gaps",
			blocks: blockMap(block(0, mib, 0, 9), block(mib, mib, 9, 9), block(4*mib, mib, 18, 9)),
			size:   20 * mib,
			want: install.Layout{
				Zero:  []install.Range{{0, mib}, {19 * mib, mib}, {2 * mib, 2 * mib}, {5 * mib, 3 * mib}},
				Total: 3 * mib, Disk: 20 * mib,
			},
		},
		{
			name: "exactly as large as the image", size: 8 * mib,
			blocks: blockMap(block(0, 4*mib, 0, 9), block(4*mib, 4*mib, 9, 9)),
			want:   install.Layout{Zero: []install.Range{{0, mib}, {7 * mib, mib}}, Total: 8 * mib, Disk: 8 * mib},
		},
		{
			name: "a sector short", size: 8*mib - 512,
			blocks:  blockMap(block(0, mib, 0, 9)),
			wantErr: "the disk has 8388096 bytes (0.0 GiB), the image needs 8388608 (0.0 GiB)",
		},
		{
			name: "tiny", size: mib,
			blocks:  images.BlockMap{Version: 1, Size: mib, Blocks: []images.Block{block(0, mib, 0, 9)}},
			wantErr: "the disk has 1048576 bytes, less than two MiB",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := install.NewLayout(tt.blocks, tt.size)
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("got %v, want %s", err, tt.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestNextSpan(t *testing.T) {
	m := blockMap(block(0, mib, 0, 10), block(mib, mib, 10, 10), block(2*mib, mib, 20, 10),
		block(3*mib, mib, 100, 10), block(4*mib, mib, 110, 50))
	for _, tt := range []struct {
		name  string
		done  []bool
		limit int64
		want  install.Span
		more  bool
	}{
		{"neighbours", make([]bool, 5), 1000, install.Span{Blocks: []int{0, 1, 2}, StoredLength: 30}, true},
		{"limit", make([]bool, 5), 29, install.Span{Blocks: []int{0, 1}, StoredLength: 20}, true},
		{"one is larger than the limit", []bool{true, true, true, true, false}, 20, install.Span{Blocks: []int{4}, StoredOffset: 110, StoredLength: 50}, true},
		{"from the first missing", []bool{true, false, true, false, false}, 1000, install.Span{Blocks: []int{1}, StoredOffset: 10, StoredLength: 10}, true},
		{"after a jump", []bool{true, true, true, false, false}, 1000, install.Span{Blocks: []int{3, 4}, StoredOffset: 100, StoredLength: 60}, true},
		{"all done", []bool{true, true, true, true, true}, 1000, install.Span{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, more := install.NextSpan(m, tt.done, tt.limit)
			if diff := cmp.Diff(tt.want, got); more != tt.more || diff != "" {
				t.Errorf("got %v, want %v; %s", more, tt.more, diff)
			}
		})
	}
}

func TestParseBlockMapErrors(t *testing.T) {
	change := func(f func(*images.BlockMap)) images.BlockMap {
		m := blockMap(block(0, mib, 0, 9), block(2*mib, mib, 9, 9))
		f(&m)
		return m
	}
	for _, tt := range []struct {
		name string
		m    images.BlockMap
		want string
	}{
		{"version", change(func(m *images.BlockMap) { m.Version = 2 }), "version 2 is not supported, want 1"},
		{"size", change(func(m *images.BlockMap) { m.Size = 1000 }), "size 1000 is not a multiple of 512"},
		{"sector size", change(func(m *images.BlockMap) { m.SectorSize = 520 }), "sector size 520 is not supported, want 512 or 4096"},
		{"size in large sectors", change(func(m *images.BlockMap) { m.SectorSize = 4096; m.Size += 512 }), "size 8389120 is not a multiple of 4096"},
		{"block in large sectors", change(func(m *images.BlockMap) { m.SectorSize = 4096; m.Blocks[1].Offset += 512 }), "block 1: offset and length are not multiples of 4096"},
		{"first block without all large sectors", func() images.BlockMap {
			m := blockMap(block(0, 20480, 0, 9))
			m.SectorSize = 4096
			return m
		}(), "the block at offset 0 does not hold the partition table"},
		{"no block", blockMap(), "the block at offset 0 does not hold the partition table"},
		{"no first block", blockMap(block(mib, mib, 0, 9)), "the block at offset 0 does not hold the partition table"},
		{"short first block", blockMap(block(0, 4096, 0, 9)), "the block at offset 0 does not hold the partition table"},
		{"overlap", change(func(m *images.BlockMap) { m.Blocks[1].Offset = mib - 512 }), "block 1: offset 1048064 is before the end of the previous block"},
		{"alignment", change(func(m *images.BlockMap) { m.Blocks[1].Length = 100 }), "block 1: offset and length are not multiples of 512"},
		{"beyond the end", change(func(m *images.BlockMap) { m.Blocks[1].Offset = 8 * mib }), "block 1: length 1048576 is out of range"},
		{"overflow", change(func(m *images.BlockMap) { m.Blocks[1].Offset = 1<<63 - 512 }), "block 1: length 1048576 is out of range"},
		{"negative", change(func(m *images.BlockMap) { m.Blocks[1].Length = -512 }), "block 1: length -512 is out of range"},
		{"huge", change(func(m *images.BlockMap) { m.Size = 1 << 40; m.Blocks[1].Length = 1 << 30 }), "block 1: length 1073741824 is out of range"},
		{"nothing stored", change(func(m *images.BlockMap) { m.Blocks[1].StoredLength = 0 }), "block 1: stored range is out of range"},
		{"stored before", change(func(m *images.BlockMap) { m.Blocks[1].StoredOffset = -1 }), "block 1: stored range is out of range"},
		{"digest", change(func(m *images.BlockMap) { m.Blocks[1].SHA256 = "ab" }), "block 1: sha256 is malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.Marshal(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			_, err = install.ParseBlockMap(data)
			if want := "reading block map: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func FuzzParseBlockMap(f *testing.F) {
	data, err := json.Marshal(blockMap(block(0, mib, 0, 9), block(2*mib, mib, 9, 9)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, int64(10*mib))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		m, err := install.ParseBlockMap(data)
		if err != nil {
			return
		}
		layout, err := install.NewLayout(m, size)
		if err != nil {
			return
		}
		for _, r := range layout.Zero {
			if r.Offset < 0 || r.Length <= 0 || r.Offset+r.Length > size {
				t.Errorf("range %+v is not on a disk of %d bytes", r, size)
			}
		}
	})
}

// Spans are all blocks that are not done, once and in order, in pieces that one
// request can fetch.
func FuzzNextSpan(f *testing.F) {
	f.Add([]byte{9, 9, 0, 9, 40}, []byte{0, 1, 0}, int64(20))
	f.Add([]byte{1}, []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, lengths, done []byte, limit int64) {
		// A length of zero stands for a gap in the stored file.
		var m images.BlockMap
		stored := int64(0)
		for _, length := range lengths {
			if length == 0 {
				stored += 100
				continue
			}
			m.Blocks = append(m.Blocks, images.Block{StoredOffset: stored, StoredLength: int64(length)})
			stored += int64(length)
		}
		isDone := make([]bool, len(m.Blocks))
		wanted := 0
		for i := range isDone {
			isDone[i] = i < len(done) && done[i]%2 == 1
			if !isDone[i] {
				wanted++
			}
		}
		last := -1
		for {
			span, ok := install.NextSpan(m, isDone, limit)
			if ok != (len(span.Blocks) > 0) || ok && len(span.Blocks) > 1 && span.StoredLength > limit {
				t.Fatalf("%+v, %v with a limit of %d", span, ok, limit)
			}
			if !ok {
				break
			}
			at := span.StoredOffset
			for _, i := range span.Blocks {
				if i <= last || isDone[i] || m.Blocks[i].StoredOffset != at {
					t.Fatalf("block %d of %+v: done before, out of order, or not a neighbour", i, span)
				}
				last, isDone[i] = i, true
				at += m.Blocks[i].StoredLength
				wanted--
			}
			if at != span.StoredOffset+span.StoredLength {
				t.Fatalf("%+v ends at %d", span, at)
			}
		}
		if wanted != 0 {
			t.Errorf("%d blocks are in no span", wanted)
		}
	})
}
