package images

import (
	"slices"
	"strings"
)

// Arguments are the recipe's own words of the kernel command line: what
// follows k8snode's in Cmdline. [LiveCmdline] takes them.
func (m Manifest) Arguments() []string {
	words := strings.Fields(m.Cmdline)
	// The last of k8snode's words.
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, ArgDisk+"=") })
	return words[i+1:]
}
