package inventory

import (
	"errors"
	"fmt"
)

// ErrUnknown is the error of a machine that nothing is known of.
var ErrUnknown = errors.New("the machine is not in the inventory")

// A ConflictError says why a machine's facts are not those of one machine of
// the inventory.
type ConflictError struct{ Reason string }

func (e *ConflictError) Error() string { return "conflict in the inventory: " + e.Reason }

// Match finds the machine that says f of itself. The error is [ErrUnknown] or a
// [*ConflictError].
func (i *Inventory) Match(f Facts) (Machine, error) {
	var found []Machine
	add := func(m Machine) {
		for _, other := range found {
			if other.Name == m.Name {
				return
			}
		}
		found = append(found, m)
	}
	for _, mac := range f.MACs {
		if m, ok := i.at(i.byMAC, mac.String()); ok {
			add(m)
		}
	}
	if len(found) > 1 {
		return Machine{}, conflict("its interfaces are those of %q and %q", found[0].Name, found[1].Name)
	}
	byUUID, hasUUID := i.at(i.byUUID, f.UUID)
	bySerial, hasSerial := i.at(i.bySerial, f.Serial)
	switch {
	case len(found) == 1:
		m := found[0]
		switch {
		case hasUUID && byUUID.Name != m.Name:
			return Machine{}, conflict("it has an interface of %q and the UUID of %q", m.Name, byUUID.Name)
		case m.UUID != "" && f.UUID != "" && m.UUID != f.UUID:
			return Machine{}, conflict("it has an interface of %q, whose UUID is %s, not %s", m.Name, m.UUID, f.UUID)
		case hasSerial && bySerial.Name != m.Name:
			return Machine{}, conflict("it has an interface of %q and the serial number of %q", m.Name, bySerial.Name)
		case m.Serial != "" && f.Serial != "" && m.Serial != f.Serial:
			return Machine{}, conflict("it has an interface of %q, whose serial number is %s, not %s", m.Name, m.Serial, f.Serial)
		}
		return m, nil
	case hasUUID:
		switch {
		case hasSerial && bySerial.Name != byUUID.Name:
			return Machine{}, conflict("it has the UUID of %q and the serial number of %q", byUUID.Name, bySerial.Name)
		case byUUID.Serial != "" && f.Serial != "" && byUUID.Serial != f.Serial:
			return Machine{}, conflict("it has the UUID of %q, whose serial number is %s, not %s", byUUID.Name, byUUID.Serial, f.Serial)
		}
		return byUUID, nil
	case hasSerial:
		if bySerial.UUID != "" && f.UUID != "" {
			return Machine{}, conflict("it has the serial number of %q, whose UUID is %s, not %s", bySerial.Name, bySerial.UUID, f.UUID)
		}
		return bySerial, nil
	}
	return Machine{}, ErrUnknown
}

func conflict(format string, args ...any) error {
	return &ConflictError{Reason: fmt.Sprintf(format, args...)}
}
