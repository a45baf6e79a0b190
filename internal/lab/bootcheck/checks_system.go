package bootcheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// Where containers are stored.
const (
	containersDir = "/var/lib/containers"
	containerdDir = "/var/lib/containerd"
	dockerDir     = "/var/lib/docker"
)

// SystemChecks hold on every boot of the image, with every firmware and from
// every medium.
func SystemChecks(r images.Recipe, m images.Manifest, hostname string) []Check {
	return []Check{
		noFailedUnit(),
		{"it is the kernel of the manifest", "uname -r", equals(m.Kernel)},
		{"the hostname is Ignition's", "cat /proc/sys/kernel/hostname", equals(hostname)},
		{"cgroups have version 2", "stat -f -c %T /sys/fs/cgroup", equals("cgroup2fs")},
		{"the kernel was told the root hash of the manifest", "cat /proc/cmdline",
			contains(fmt.Sprintf("%s=%s:%d", images.ArgVerity, m.Root.RootHash, m.Root.Size))},
		{"the root is read through dm-verity", "findmnt -n -o SOURCE -M / && cat /sys/module/dm_verity/refcnt", judgeVerity},
		{"/usr is read-only", "if touch /usr/k8snode-lab; then rm /usr/k8snode-lab; exit 1; fi 2>&1", equals("touch: cannot touch '/usr/k8snode-lab': Read-only file system")},
		{"/etc and /var can be written", "touch /etc/k8snode-lab /var/k8snode-lab && rm /etc/k8snode-lab /var/k8snode-lab", nil},
		{"nothing of the config is left", "find /run/ignition.json /run/k8snode/ignition /etc/k8snode/seed.json -maxdepth 0 2>/dev/null || true", equals("")},
		sysctls(r),
		modules(r),
	}
}

func noFailedUnit() Check {
	return Check{"no unit has failed", "systemctl is-system-running || { systemctl --failed --no-legend --plain; false; }", equals("running")}
}

func judgeVerity(got string) error {
	source, references, _ := strings.Cut(got, "\n")
	if source != "/dev/mapper/root" {
		return fmt.Errorf("the root is %q", source)
	}
	if n, err := strconv.Atoi(references); err != nil || n < 1 {
		return fmt.Errorf("dm-verity has %q users", references)
	}
	return nil
}

// sysctls asks for every one of the recipe.
func sysctls(r images.Recipe) Check {
	keys := slices.Sorted(maps.Keys(r.Spec.Sysctls))
	return Check{"every sysctl is the recipe's", "sysctl -e " + strings.Join(keys, " "), func(got string) error {
		have := map[string]string{}
		for line := range strings.Lines(got) {
			key, value, _ := strings.Cut(line, "=")
			have[strings.TrimSpace(key)] = strings.Join(strings.Fields(value), " ")
		}
		var wrong []string
		for _, key := range keys {
			want := strings.Join(strings.Fields(r.Spec.Sysctls[key]), " ")
			if value, ok := have[key]; !ok {
				wrong = append(wrong, key+" does not exist")
			} else if value != want {
				wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", key, value, want))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	}}
}

// modules asks for every one of the recipe: it is loaded, or built in.
func modules(r images.Recipe) Check {
	var want []string
	for _, m := range r.Spec.KernelModules {
		want = append(want, strings.ReplaceAll(m, "-", "_"))
	}
	const command = `cut -d ' ' -f 1 /proc/modules && sed 's|.*/||; s|\.ko$||; s|-|_|g' "/lib/modules/$(uname -r)/modules.builtin"`
	return Check{"every module of the recipe is there", command, contains(want...)}
}

// DiskChecks hold on a machine that keeps its state on a disk.
func DiskChecks(r images.Recipe) []Check {
	return []Check{
		journalFile(),
		journalConfig(r),
		journalLimit(r),
		{"containers are on XFS with project quotas", "findmnt -n -o FSTYPE,OPTIONS -M " + containersDir, contains("xfs", "prjquota")},
		{"project quotas are enforced", "xfs_quota -x -c 'state -p' " + containersDir, func(got string) error {
			if !strings.Contains(got, "Accounting: ON") || !strings.Contains(got, "Enforcement: ON") {
				return fmt.Errorf("got %q", abridge(got))
			}
			return nil
		}},
		{"containerd and docker store on that file system",
			fmt.Sprintf("stat -c %%d %s %s %s", containersDir, containerdDir, dockerDir), func(got string) error {
				if devices := slices.Compact(strings.Fields(got)); len(devices) != 1 {
					return fmt.Errorf("they are on the devices %q", devices)
				}
				return nil
			}},
	}
}

func journalFile() Check {
	return Check{"the journal is persistent", `test -s "/var/log/journal/$(cat /etc/machine-id)/system.journal"`, nil}
}

// journalConfig compares what journald reads with the recipe: of several lines
// for one key the last counts.
func journalConfig(r images.Recipe) Check {
	return Check{"journald is configured as in the recipe", "systemd-analyze cat-config systemd/journald.conf", func(got string) error {
		have := map[string]string{}
		for line := range strings.Lines(got) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			have[key] = value
		}
		var wrong []string
		for _, key := range slices.Sorted(maps.Keys(r.Spec.Journald)) {
			if want := r.Spec.Journald[key]; have[key] != want {
				wrong = append(wrong, fmt.Sprintf("%s is %q, want %q", key, have[key], want))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	}}
}

// journalLimit compares what journald says of itself when it opens its files,
// SD_MESSAGE_JOURNAL_USAGE of sd-messages(3), with the recipe.
func journalLimit(r images.Recipe) Check {
	const command = "journalctl -b -o json MESSAGE_ID=ec387f577b844b8fa948f33cad9a75e6"
	return Check{"journald keeps to the size in the recipe", command, func(got string) error {
		want, err := bytesOf(r.Spec.Journald["SystemMaxUse"])
		if err != nil {
			return fmt.Errorf("reading SystemMaxUse of the recipe: %w", err)
		}
		for line := range strings.Lines(got) {
			var said struct {
				Name   string `json:"JOURNAL_NAME"`
				MaxUse string `json:"MAX_USE"`
			}
			if err := json.Unmarshal([]byte(line), &said); err != nil {
				return fmt.Errorf("reading the journal: %w", err)
			}
			if said.Name != "System Journal" {
				continue
			}
			if said.MaxUse != strconv.FormatInt(want, 10) {
				return fmt.Errorf("its limit is %s bytes, want %d", said.MaxUse, want)
			}
			return nil
		}
		return fmt.Errorf("journald did not say that it opened the system journal: %q", abridge(got))
	}}
}

// bytesOf reads a size of systemd.syntax(7): a number with a binary suffix.
func bytesOf(size string) (int64, error) {
	number, factor := size, int64(1)
	for suffix, f := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40} {
		if n, ok := strings.CutSuffix(size, suffix); ok {
			number, factor = n, f
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", size)
	}
	return n * factor, nil
}
