package squashfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxXattrValue is XATTR_SIZE_MAX of Linux.
const maxXattrValue = 64 << 10

// xattrPrefixes are in the order of their numbers in the format.
var xattrPrefixes = []string{"user.", "trusted.", "security."}

// splitXattr returns the number of the prefix and the name behind it.
func splitXattr(name string) (uint16, string, error) {
	for i, prefix := range xattrPrefixes {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && len(name) <= maxName {
			return uint16(i), rest, nil
		}
	}
	return 0, "", fmt.Errorf("attribute %q cannot be stored: squashfs knows %s", name, strings.Join(xattrPrefixes, ", "))
}

// xattrs is the table of extended attributes: lists of keys and values, and
// for each list where it is, how many pairs it has and their size. Equal lists
// are stored once.
type xattrs struct {
	pairs *metadata
	lists []byte
	known map[string]uint32
}

const xattrListSize = 16

// add returns the number of a list; none for an empty one.
func (x *xattrs) add(attrs map[string]string) (uint32, error) {
	if len(attrs) == 0 {
		return none, nil
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		prefix, rest, err := splitXattr(name)
		if err != nil {
			return 0, err
		}
		b = le.AppendUint16(b, prefix)
		b = le.AppendUint16(b, uint16(len(rest)))
		b = append(b, rest...)
		b = le.AppendUint32(b, uint32(len(attrs[name])))
		b = append(b, attrs[name]...)
	}
	if n, ok := x.known[string(b)]; ok {
		return n, nil
	}
	n := uint32(len(x.lists) / xattrListSize)
	x.known[string(b)] = n
	x.lists = le.AppendUint64(x.lists, uint64(x.pairs.at()))
	x.lists = le.AppendUint32(x.lists, uint32(len(attrs)))
	x.lists = le.AppendUint32(x.lists, uint32(len(b)))
	x.pairs.write(b)
	return n, nil
}
