package node

import "strings"

// linksDir has links to disks by what the kernel says of them. A udev rule of the
// initramfs makes them; Ignition, which knows disks by path only, follows them.
const linksDir = "/dev/k8snode"

// SerialLink leads to the disk with a serial number.
func SerialLink(serial string) string { return linksDir + "/serial/" + serial }

// WWNLink leads to the disk with a world-wide name.
func WWNLink(wwn string) string { return linksDir + "/wwn/" + PlainWWN(wwn) }

// PlainWWN removes what distinguishes the kernel's naa.5000c500… and eui.0025… from
// the 0x5000c500… that lsblk and udev print.
func PlainWWN(wwn string) string {
	wwn = strings.ToLower(wwn)
	for _, prefix := range []string{"naa.", "eui.", "0x"} {
		wwn = strings.TrimPrefix(wwn, prefix)
	}
	return wwn
}
