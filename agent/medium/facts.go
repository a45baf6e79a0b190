package medium

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/provision/api"
)

// etherType is the kernel's ARPHRD_ETHER.
const etherType = "1"

// Facts are what the machine says of itself, as its boot loader would: what the
// firmware says of the board, and the address of each Ethernet interface that is
// hardware. They are sorted, and what is not known is left out.
func Facts(root string) url.Values {
	facts := url.Values{}
	for key, file := range map[string]string{
		api.KeyUUID: "product_uuid", api.KeySerial: "product_serial", api.KeyManufacturer: "sys_vendor", api.KeyProduct: "product_name",
	} {
		if value := line(filepath.Join("/", root, "sys/class/dmi/id", file)); value != "" {
			facts.Set(key, value)
		}
	}
	for _, mac := range interfaces(root) {
		facts.Add(api.KeyMAC, mac)
	}
	return facts
}

func interfaces(root string) []string {
	folders, err := filepath.Glob(filepath.Join("/", root, "sys/class/net/*"))
	if err != nil {
		return nil
	}
	var macs []string
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, "device")); err != nil || line(filepath.Join(dir, "type")) != etherType {
			continue
		}
		mac, err := net.ParseMAC(line(filepath.Join(dir, "address")))
		if err == nil && len(mac) == 6 && !slices.Contains(macs, mac.String()) {
			macs = append(macs, mac.String())
		}
	}
	return macs
}

// line is the first line of a file, or nothing.
func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}
