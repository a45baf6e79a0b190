package squashfs_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/builder/squashfs"
)

// Folders of all sizes around those at which a listing changes its form: 256
// entries for a header, 8192 bytes for a metadata block, 65535 for a basic inode.
func TestListingBorders(t *testing.T) {
	var entries []squashfs.Entry
	for _, n := range []int{1, 2, 255, 256, 257, 511, 513, 700} {
		for i := range n {
			entries = append(entries, symlink(fmt.Sprintf("count-%d/%04d", n, i), fmt.Sprint(i)))
		}
	}
	// 30 names of 255 bytes and one of 1 to 64: the listing ends around 8192.
	for n := 1; n <= 64; n += 3 {
		for i := range 30 {
			entries = append(entries, file(fmt.Sprintf("block-%d/%02d%s", n, i, strings.Repeat("n", 253)), ""))
		}
		entries = append(entries, file(fmt.Sprintf("block-%d/%s", n, strings.Repeat("m", n)), fmt.Sprint(n)))
	}
	// 5000 names, and more than 65535 bytes of listing.
	for i := range 5000 {
		entries = append(entries, file(fmt.Sprintf("large/%04d-%s", i, strings.Repeat("x", i%40)), fmt.Sprint(i%7)))
	}
	name := image(t, entries)
	compare(t, name, rows(t, entries))

	// The index of a large folder finds the first, the last and all between.
	root := mount(t, name)
	for i := range 5000 {
		p := filepath.Join(root, fmt.Sprintf("large/%04d-%s", i, strings.Repeat("x", i%40)))
		if b, err := os.ReadFile(p); err != nil || string(b) != fmt.Sprint(i%7) {
			t.Fatalf("%s has %q, %v", p, b, err)
		}
		if _, err := os.Stat(p + "!"); !os.IsNotExist(err) {
			t.Fatalf("%s!: %v", p, err)
		}
	}
}

// owners returns n files, each with two owners that no other has, and one
// empty folder whose number is more than 32767 behind that of its sibling.
func owners(n int) []squashfs.Entry {
	entries := []squashfs.Entry{dir("a", 0o755), dir("z", 0o700)}
	for i := range n {
		e := file(fmt.Sprintf("a/%05d", i), "")
		e.UID, e.GID = uint32(2*i+1), uint32(2*i+2)
		entries = append(entries, e)
	}
	return entries
}

// 65535 owners are the most, 32767 the largest distance of inode numbers in one
// run of a listing.
func TestNumberBorders(t *testing.T) {
	// 32767 files with 65534 owners, and root.
	entries := owners(32767)
	name, info, err := assemble(t, pack(t, entries, squashfs.PackOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	if info.Inodes != 32770 {
		t.Errorf("%d inodes, want 32770", info.Inodes)
	}
	root := mount(t, name)
	for _, e := range []squashfs.Entry{entries[0], entries[1], entries[2], entries[5000], entries[len(entries)-1]} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, e.Path), &st); err != nil {
			t.Fatal(err)
		}
		if uint16(st.Mode&0o7777) != e.Mode || st.Uid != e.UID || st.Gid != e.GID {
			t.Errorf("%s: mode %o, owner %d:%d", e.Path, st.Mode, st.Uid, st.Gid)
		}
	}
	var z, last unix.Stat_t
	if err := unix.Lstat(filepath.Join(root, "z"), &z); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lstat(filepath.Join(root, "a/32766"), &last); err != nil {
		t.Fatal(err)
	}
	if z.Ino != last.Ino+1 {
		t.Errorf("z has the number %d, the last of a %d: not the order of paths", z.Ino, last.Ino)
	}

	_, _, err = assemble(t, pack(t, owners(32768), squashfs.PackOptions{}))
	want := "assembling the file system: there are 65537 different users and groups; the format has room for 65535"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// endless is zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A file of more than 4 GiB, and where its end is data.
func TestLargeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second")
	}
	const size = 4<<30 + 3<<20 + 5
	e := squashfs.Entry{Path: "large", Kind: squashfs.File, Mode: 0o600, Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(io.LimitReader(endless{}, size-3), strings.NewReader("end"))), nil
	}}
	name, info, err := assemble(t, pack(t, []squashfs.Entry{e}, squashfs.PackOptions{BlockSize: 1 << 20}))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size > 32<<10 {
		t.Errorf("it takes %d bytes", info.Size)
	}
	f, err := os.Open(filepath.Join(mount(t, name), "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != size || st.Blocks != 1 {
		t.Errorf("size %d with %d blocks, want %d with 1", st.Size, st.Blocks, int64(size))
	}
	b := make([]byte, 8)
	if _, err := f.ReadAt(b, size-8); err != nil || string(b) != "\x00\x00\x00\x00\x00end" {
		t.Errorf("it ends with %q, %v", b, err)
	}
	if _, err := f.ReadAt(b, 2<<30); err != nil || string(b) != zeros(8) {
		t.Errorf("in the middle is %q, %v", b, err)
	}
}
