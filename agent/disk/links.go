package disk

import (
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/agent/node"
)

// linkName is what udev puts into a link as it is.
var linkName = regexp.MustCompile(`^[A-Za-z0-9#+.:=@_-]+$`)

// StableLinks are the links by which a node's config may name the disk, as udev
// wants them: below /dev.
func StableLinks(d Disk) []string {
	var links []string
	if linkName.MatchString(d.Serial) {
		links = append(links, strings.TrimPrefix(node.SerialLink(d.Serial), "/dev/"))
	}
	if linkName.MatchString(node.PlainWWN(d.WWN)) {
		links = append(links, strings.TrimPrefix(node.WWNLink(d.WWN), "/dev/"))
	}
	return links
}
