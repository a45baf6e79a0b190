package lab

// For the tests of this package, which are outside of it.
var (
	ParseStat    = parseStat
	QueryMachine = queryMachine
)

// IsRecorded reports whether a process is in a network's record, alive.
func IsRecorded(n *Network, pid int) (bool, error) {
	ids, err := recorded(n.StateDir())
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if id.PID == pid && id.alive() {
			return true, nil
		}
	}
	return false, nil
}
