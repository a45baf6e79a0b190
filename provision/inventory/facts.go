package inventory

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Bounds of what a machine says of itself.
const (
	maxMACs = 16
	maxText = 64
)

// Facts are what a machine says of itself. The zero value says nothing.
type Facts struct {
	// MACs are those of all interfaces, the one that it booted from first.
	MACs []net.HardwareAddr
	// UUID and Serial are empty when they are missing, or of no use because
	// other machines have the same.
	UUID         string
	Serial       string
	Manufacturer string
	Product      string
}

// ReadFacts reads the query of a boot loader: mac (once per interface, with
// hyphens or colons; empty for an interface that is not there), uuid, serial,
// manufacturer and product. What cannot be read is left out, but for a MAC: a
// machine is not found by half of its interfaces.
func ReadFacts(query string) (Facts, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return Facts{}, fmt.Errorf("reading the query of a machine: %w", err)
	}
	var f Facts
	for _, text := range values["mac"] {
		if text == "" {
			continue
		}
		mac, err := net.ParseMAC(text)
		if err == nil && len(mac) != 6 {
			continue // not Ethernet
		}
		if err != nil {
			return Facts{}, fmt.Errorf("reading the query of a machine: %q is not a MAC address", plain(text))
		}
		if slices.ContainsFunc(f.MACs, func(m net.HardwareAddr) bool { return m.String() == mac.String() }) {
			continue
		}
		if f.MACs = append(f.MACs, mac); len(f.MACs) > maxMACs {
			return Facts{}, fmt.Errorf("reading the query of a machine: it names more than %d interfaces", maxMACs)
		}
	}
	f.UUID, _ = ReadUUID(values.Get("uuid"))
	f.Serial, _ = readSerial(values.Get("serial"))
	f.Manufacturer, f.Product = plain(values.Get("manufacturer")), plain(values.Get("product"))
	return f, nil
}

// ReadUUID returns a UUID in lower case. It does not return those that are in
// many machines, because a vendor did not set them: all zeros, all ones, or the
// one that is in the source of many firmwares.
func ReadUUID(text string) (string, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return "", false
	}
	digits := strings.ReplaceAll(text, "-", "")
	if b, err := hex.DecodeString(digits); err != nil || len(b) != 16 {
		return "", false
	}
	// One digit all over, with or without the bits of its version.
	if strings.Count(digits, digits[:1]) >= len(digits)-2 {
		return "", false
	}
	switch text {
	case "03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc":
		return "", false
	}
	return text, true
}

// readSerial returns a serial number, unless it is what a vendor left there.
func readSerial(text string) (string, bool) {
	text = plain(text)
	if strings.Trim(text, "0. -xX") == "" || len(text) < 3 {
		return "", false
	}
	switch strings.ToLower(text) {
	case "to be filled by o.e.m.", "to be filled by oem", "default string", "default", "none", "not specified", "not available",
		"not applicable", "n/a", "unknown", "system serial number", "serial number", "chassis serial number",
		"o.e.m.", "oem", "empty", "123456789", "0123456789", "1234567890", "invalid":
		return "", false
	}
	return text, true
}

// plain bounds a text and takes from it what could steer a terminal.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	text = strings.TrimSpace(text)
	for len(text) > maxText {
		runes := []rune(text)
		text = strings.TrimSpace(string(runes[:min(len(runes)-1, maxText)]))
	}
	return text
}
