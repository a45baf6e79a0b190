package inventory

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"

	"github.com/k8snode/k8snode/provision/api"
)

// A Machine is one entry of the inventory.
type Machine struct {
	// Name is the name of the node that the machine becomes: an RFC 1123
	// label.
	Name string
	// Role is shown to operators.
	Role string
	// MAC is that of the interface that the machine boots from, with colons
	// or hyphens; MACs are those of its other interfaces.
	MAC  string
	MACs []string
	// UUID and Serial are those of SMBIOS, type 1; empty when they are not
	// known.
	UUID   string
	Serial string
	// Address is the machine's IPv4 address with the prefix length of its
	// network.
	Address netip.Prefix
	Disk    api.DiskSelection
	// Etcd says that the node has data of etcd, EtcdMiB how large the partition with
	// it is, if that is on the disk of the system, and Partitions are the others there.
	Etcd       bool
	EtcdMiB    int64
	Partitions []api.NewPartition
	// LocalBoot is how its boot loader starts the local disk.
	LocalBoot LocalBoot

	interfaces []net.HardwareAddr
}

// HardwareAddr is the MAC, of a machine that New has checked.
func (m Machine) HardwareAddr() net.HardwareAddr { return m.interfaces[0] }

// Interfaces are the MAC and the MACs, of a machine that New has checked.
func (m Machine) Interfaces() []net.HardwareAddr { return m.interfaces }

// LocalBoot is a way from a boot loader to the local disk. Firmware differs in
// which of them it takes.
type LocalBoot string

// The ways.
const (
	// Sanboot starts the first disk, whatever the firmware's order is. It is
	// the default.
	Sanboot LocalBoot = "sanboot"
	// Exit ends the boot loader with success: BIOS firmware goes on to the next
	// device.
	Exit LocalBoot = "exit"
	// Fail ends it with an error: UEFI firmware goes on to its next boot option.
	Fail LocalBoot = "fail"
)

var labelRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// An Inventory finds machines. It does not change.
type Inventory struct {
	machines []Machine
	// Positions in machines.
	byName, byMAC, byUUID, bySerial map[string]int
}

// New checks machines and returns every problem, joined.
func New(machines []Machine) (*Inventory, error) {
	i := &Inventory{
		byName: map[string]int{}, byMAC: map[string]int{}, byUUID: map[string]int{}, bySerial: map[string]int{},
	}
	addresses := map[string]int{}
	var problems []error
	for _, m := range machines {
		at := len(i.machines)
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("machine %q: "+format, append([]any{m.Name}, args...)...))
		}
		claim := func(kind string, claimed map[string]int, value string) {
			if other, ok := claimed[value]; ok && other != at {
				problem("%s %s is that of %q", kind, value, machines[other].Name)
				return
			}
			claimed[value] = at
		}
		if !labelRE.MatchString(m.Name) {
			problem("the name is not an RFC 1123 label")
		}
		claim("name", i.byName, m.Name)
		for _, text := range append([]string{m.MAC}, m.MACs...) {
			mac, err := net.ParseMAC(text)
			if err != nil || len(mac) != 6 {
				problem("%q is not a MAC address", text)
				continue
			}
			m.interfaces = append(m.interfaces, mac)
			claim("MAC", i.byMAC, mac.String())
		}
		if m.UUID != "" {
			uuid, ok := ReadUUID(m.UUID)
			if !ok {
				problem("%q is not the UUID of one machine", m.UUID)
			} else {
				claim("UUID", i.byUUID, uuid)
			}
			m.UUID = uuid
		}
		if m.Serial != "" {
			serial, ok := readSerial(m.Serial)
			if !ok {
				problem("%q is not the serial number of one machine", m.Serial)
			} else {
				claim("serial number", i.bySerial, serial)
			}
			m.Serial = serial
		}
		if !m.Address.IsValid() || !m.Address.Addr().Is4() {
			problem("%s is not an IPv4 address with a prefix length", m.Address)
		} else {
			claim("address", addresses, m.Address.Addr().String())
		}
		switch m.LocalBoot {
		case "":
			m.LocalBoot = Sanboot
		case Sanboot, Exit, Fail:
		default:
			problem("there is no way %q to boot the local disk", m.LocalBoot)
		}
		i.machines = append(i.machines, m)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return i, nil
}

// Machines returns all machines, in the order of New.
func (i *Inventory) Machines() []Machine { return slices.Clone(i.machines) }

// Name returns the machine of a name.
func (i *Inventory) Name(name string) (Machine, bool) { return i.at(i.byName, name) }

func (i *Inventory) at(index map[string]int, key string) (Machine, bool) {
	at, ok := index[key]
	if !ok {
		return Machine{}, false
	}
	return i.machines[at], true
}
