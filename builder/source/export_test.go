package source

import "path/filepath"

// Partial is where the unfinished file of a download is.
func Partial(c Cache, f File) string {
	return filepath.Join(c.Dir, "work", "partial", SumJSON([]string{f.URL, f.SHA256}))
}
