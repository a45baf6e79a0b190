package rootdev

import (
	"fmt"
	"testing"
)

// What a server says of a part is a place in a whole, or nothing.
func FuzzParseRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 0-0/*")
	f.Add("bytes */10")
	f.Add("bytes 5-9/-10")
	f.Add("items 1-2/3")
	f.Fuzz(func(t *testing.T, value string) {
		start, size, ok := parseRange(value)
		if !ok {
			return
		}
		if start < 0 || size < -1 {
			t.Fatalf("%q is %d of %d", value, start, size)
		}
		same := fmt.Sprintf("bytes %d-%d/%d", start, start, size)
		if size == -1 {
			same = fmt.Sprintf("bytes %d-%d/*", start, start)
		}
		if again, whole, ok := parseRange(same); !ok || again != start || whole != size {
			t.Errorf("%q is %d of %d, %q is %d of %d", value, start, size, same, again, whole)
		}
	})
}
