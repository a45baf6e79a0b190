package cluster

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/report"
)

// Limits of etcd: its tuning guide and server/embed/config.go.
const (
	maxElectionMillis = 50_000
	maxQuotaGiB       = 8
)

func (c *checker) etcd(cl Cluster) {
	const path report.Path = "spec.etcd"
	e := cl.Spec.Etcd
	c.events(path.Field("events"), cl.Spec)
	c.backup(path.Field("backup"), e.Backup)
	c.restore(path, cl)
	known := c.oneOf(path.Field("tuning"), e.Tuning, TuningSlow, TuningLAN)
	if known && e.HeartbeatMillis < 1 {
		c.add(path.Field("heartbeatMillis"), fmt.Sprintf("%d is not a time", e.HeartbeatMillis), "")
	}
	switch at := path.Field("electionMillis"); {
	case e.ElectionMillis > maxElectionMillis:
		c.add(at, fmt.Sprintf("%d ms is more than etcd allows", e.ElectionMillis), "use at most 50000")
	case e.ElectionMillis < 5*e.HeartbeatMillis:
		c.add(at, fmt.Sprintf("%d ms is less than five heartbeats of %d ms", e.ElectionMillis, e.HeartbeatMillis),
			fmt.Sprintf("use at least %d", 5*e.HeartbeatMillis))
	}
	if e.QuotaGiB < 1 || e.QuotaGiB > maxQuotaGiB {
		c.add(path.Field("quotaGiB"), fmt.Sprintf("%d GiB is out of range", e.QuotaGiB), "use 1 to 8")
	}
	at := path.Field("compactionRetention")
	c.oneOf(path.Field("compactionMode"), e.CompactionMode, CompactPeriodic, CompactRevision)
	switch e.CompactionMode {
	case CompactPeriodic:
		if d, err := time.ParseDuration(e.CompactionRetention); err != nil || d < time.Minute {
			c.add(at, fmt.Sprintf("%q is not a time of a minute or more", e.CompactionRetention), "write it as 1h")
		}
	case CompactRevision:
		if n, err := strconv.Atoi(e.CompactionRetention); err != nil || n < 1 {
			c.add(at, fmt.Sprintf("%q is not a number of revisions", e.CompactionRetention), "write it as 10000")
		}
	}
}

// schedulePattern holds what systemd.time(7) allows in a calendar event; whether
// it is one, systemd says.
var schedulePattern = regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9*:.,/~ -]*$`)

// maxBackups is more than a snapshot an hour for a month.
const maxBackups = 1000

func (c *checker) backup(path report.Path, b EtcdBackup) {
	if b.Schedule == "" {
		if b.Keep != 0 || b.Directory != "" {
			c.add(path.Field("schedule"), "missing", "write when, for instance daily")
		}
		return
	}
	if !schedulePattern.MatchString(b.Schedule) {
		c.add(path.Field("schedule"), fmt.Sprintf("%q is not a calendar event", b.Schedule), "write it as daily, or as *-*-* 03:00")
	}
	if b.Keep < 1 || b.Keep > maxBackups {
		c.add(path.Field("keep"), fmt.Sprintf("%d is out of range", b.Keep), fmt.Sprintf("use 1 to %d", maxBackups))
	}
	if !backupPattern.MatchString(b.Directory) || strings.Contains(b.Directory, "..") {
		c.add(path.Field("directory"), fmt.Sprintf("%q is not a folder that can be written", b.Directory), "use one below /var, without spaces")
	}
}

// backupPattern needs no quotes in a unit.
var backupPattern = regexp.MustCompile(`^/var(/[A-Za-z0-9._-]+)+$`)

func (c *checker) events(path report.Path, s Spec) {
	e := s.Etcd.Events
	at := path.Field("quotaGiB")
	switch {
	case !e.Enabled && e.QuotaGiB != 0:
		c.add(at, "there is no etcd for events", "set enabled: true, or remove it")
	case e.Enabled && (e.QuotaGiB < 1 || e.QuotaGiB > maxQuotaGiB):
		c.add(at, fmt.Sprintf("%d GiB is out of range", e.QuotaGiB), "use 1 to 8")
	}
	if !e.Enabled {
		return
	}
	for i, a := range s.Kubernetes.APIServer.ExtraArgs {
		if a.Name == EtcdOverridesArg {
			c.add(report.Path("spec.kubernetes.apiServer.extraArgs").Index(i).Field("name"),
				fmt.Sprintf("%s is what spec.etcd.events sets", a.Name), "remove one of them")
		}
	}
}

func (c *checker) restore(path report.Path, cl Cluster) {
	e := cl.Spec.Etcd
	if e.Generation < 1 {
		c.add(path.Field("generation"), fmt.Sprintf("%d is no generation", e.Generation), "use 1, or one more than before for a restore")
	}
	if e.Restore == (EtcdRestore{}) {
		return
	}
	at := path.Field("restore")
	switch n, ok := cl.Node(e.Restore.Member); {
	case e.Restore.Member == "":
		c.add(at.Field("member"), "missing", "name the control plane that begins with the snapshot")
	case !ok || n.Role != ControlPlane:
		c.add(at.Field("member"), fmt.Sprintf("%q is no control plane", e.Restore.Member), "name one of spec.nodes")
	}
	switch {
	case e.Restore.Snapshot == "":
		c.add(at.Field("snapshot"), "missing", "write the path of the snapshot on that machine")
	case !backupPattern.MatchString(e.Restore.Snapshot) || strings.Contains(e.Restore.Snapshot, ".."):
		c.add(at.Field("snapshot"), fmt.Sprintf("%q is not a file below /var", e.Restore.Snapshot), "use a path below /var, without spaces")
	case strings.HasPrefix(e.Restore.Snapshot, "/var/lib/etcd/"):
		c.add(at.Field("snapshot"), "it is on the partition of etcd, which is made anew", "copy the snapshot to another place")
	}
	if e.Generation == 1 {
		c.add(path.Field("generation"), "a restored etcd is another one: members of the old one must not know it", "write 2, or one more than at the last restore")
	}
}

// etcdDisk checks a disk that is etcd's alone.
func (c *checker) etcdDisk(path report.Path, n Node) {
	d := n.EtcdDisk
	if d == nil {
		return
	}
	if n.Role != ControlPlane {
		c.add(path, "a worker has no etcd", "remove it")
		return
	}
	given := 0
	for _, value := range []string{d.Device, d.Serial, d.WWN} {
		if value != "" {
			given++
		}
	}
	if given != 1 {
		c.add(path, fmt.Sprintf("%d of device, serial and wwn are given", given), "give exactly one: it names the disk that is emptied")
	}
	c.device(path.Field("device"), d.Device)
	for _, f := range []struct{ name, value string }{{"serial", d.Serial}, {"wwn", d.WWN}} {
		if f.value != "" && !diskNamePattern.MatchString(f.value) {
			c.add(path.Field(f.name), fmt.Sprintf("%q is not what the kernel says of a disk", f.value), "write it as lsblk --output NAME,SERIAL,WWN shows it")
		}
	}
	for _, f := range []struct{ name, own, system string }{
		{"device", d.Device, n.Disk.Device}, {"serial", d.Serial, n.Disk.Serial}, {"wwn", d.WWN, n.Disk.WWN},
	} {
		if f.own != "" && f.own == f.system {
			c.add(path.Field(f.name), fmt.Sprintf("%s is the disk of the system", f.own), "name another one, or remove etcdDisk")
		}
	}
}

// diskNamePattern is what udev puts into a link without changing it.
var diskNamePattern = regexp.MustCompile(`^[A-Za-z0-9#+.:=@_-]+$`)
