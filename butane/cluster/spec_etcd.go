package cluster

// Etcd tunes etcd, which runs on every control plane.
type Etcd struct {
	// Tuning is slow (heartbeat 250 ms, election 2000 ms: disks with other
	// work, long ways) or lan (etcd's own 100 and 1000 ms).
	Tuning string `yaml:"tuning"`
	// HeartbeatMillis is that of the tuning unless set.
	HeartbeatMillis int `yaml:"heartbeatMillis"`
	// ElectionMillis is that of the tuning unless set, at least five
	// heartbeats.
	ElectionMillis int `yaml:"electionMillis"`
	// QuotaGiB limits the database, 8 at most. The partition is 2 GiB larger.
	QuotaGiB int `yaml:"quotaGiB"`
	// CompactionMode is periodic or revision. The API server compacts what is
	// its own every five minutes.
	CompactionMode string `yaml:"compactionMode"`
	// CompactionRetention is a time, or a number of revisions.
	CompactionRetention string `yaml:"compactionRetention"`
	// Events keeps events apart from all else.
	Events EtcdEvents `yaml:"events"`
	// Backup saves snapshots on every control plane; without a schedule there
	// are none.
	Backup EtcdBackup `yaml:"backup"`
	// Generation counts the beginnings of the cluster's etcd: 1 is the first,
	// and each time that it is restored from a snapshot it is one more. Members
	// of different ones do not mix.
	Generation int `yaml:"generation"`
	// Restore begins etcd with a snapshot, when all of its data is lost.
	Restore EtcdRestore `yaml:"restore"`
}

// EtcdEvents is a second etcd on every control plane, on the same partition, for
// events: the API server writes more of them than of all else, in a large cluster,
// and needs them least.
type EtcdEvents struct {
	// Enabled has one.
	Enabled bool `yaml:"enabled"`
	// QuotaGiB limits its database; 2 unless set.
	QuotaGiB int `yaml:"quotaGiB"`
}

// EtcdRestore names a snapshot. It is used by a config that is delivered with
// --new-cluster, and only where no etcd of the cluster runs.
type EtcdRestore struct {
	// Member is the control plane that begins with it; all others join.
	Member string `yaml:"member"`
	// Snapshot is the path of the file on that machine: of a mount of
	// system.mounts, or where somebody copies it while the machine waits.
	Snapshot string `yaml:"snapshot"`
}

// EtcdBackup saves snapshots of etcd.
type EtcdBackup struct {
	// Schedule is a calendar event of systemd.time(7): daily, or *-*-* 03:00.
	Schedule string `yaml:"schedule"`
	// Keep is how many snapshots of each control plane stay.
	Keep int `yaml:"keep"`
	// Directory may be that of a mount of system.mounts. One on the node's own
	// disk is lost with it.
	Directory string `yaml:"directory"`
}
