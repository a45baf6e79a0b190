package etcdguard_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/etcdguard"
	"github.com/k8snode/k8snode/agent/node"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func config(genesis time.Duration, members ...string) node.Config {
	until := now.Add(genesis)
	cfg := node.Config{Name: "cp1", Role: node.ControlPlane, Etcd: &node.Etcd{
		PeerURL: "https://10.0.0.1:2380", Members: map[string]string{"cp1": "https://10.0.0.1:2380"},
	}}
	if genesis != 0 {
		cfg.Etcd.GenesisUntil = &until
	}
	for _, m := range members {
		cfg.Etcd.Members[m] = "https://" + m + ":2380"
	}
	return cfg
}

func TestDecide(t *testing.T) {
	moment := config(time.Hour)
	moment.Etcd.GenesisUntil = &now
	foreign := config(time.Hour)
	foreign.Etcd.PeerURL = "https://10.0.0.9:2380"
	const existing = "ETCD_INITIAL_CLUSTER=a=https://a:2380,cp1=https://10.0.0.1:2380\nETCD_INITIAL_CLUSTER_STATE=existing\n"
	for _, tt := range []struct {
		name    string
		cfg     node.Config
		facts   etcdguard.Facts
		want    string
		wantErr string
	}{
		{
			name: "genesis", cfg: config(time.Hour), facts: etcdguard.Facts{Mounted: true, Now: now},
			want: "ETCD_INITIAL_CLUSTER=cp1=https://10.0.0.1:2380\nETCD_INITIAL_CLUSTER_STATE=new\n",
		},
		{name: "log", cfg: config(0, "a"), facts: etcdguard.Facts{Mounted: true, Log: true, Now: now}, want: existing},
		{name: "log during genesis", cfg: config(time.Hour, "a"), facts: etcdguard.Facts{Mounted: true, Log: true, Now: now}, want: existing},
		{
			name: "not mounted", cfg: config(time.Hour), facts: etcdguard.Facts{Now: now},
			wantErr: "the data folder is not a mount point: its partition did not mount, and an empty folder in its place would make this member forget its data",
		},
		{
			name: "not mounted, with a log", cfg: config(0), facts: etcdguard.Facts{Log: true, Now: now},
			wantErr: "the data folder is not a mount point: its partition did not mount, and an empty folder in its place would make this member forget its data",
		},
		{
			name: "never genesis", cfg: config(0), facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: "this member has no data and may not start a new cluster: joining an existing etcd cluster is not supported yet; " +
				"restore its data partition, or reimage the cluster's first control plane with a new genesis window",
		},
		{
			name: "genesis with others", cfg: config(time.Hour, "a", "b"), facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: "this member has no data, and the cluster has 3 members: starting more than one is not supported yet",
		},
		{
			name: "genesis is over", cfg: config(-time.Hour), facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: "this member has no data, and the time to start a new cluster ended at 2026-05-01T11:00:00Z (it is 2026-05-01T12:00:00Z): " +
				"if the cluster shall begin anew, reimage this node in a new install window; otherwise restore a snapshot",
		},
		{
			name: "genesis ends now", cfg: moment, facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: "this member has no data, and the time to start a new cluster ended at 2026-05-01T12:00:00Z (it is 2026-05-01T12:00:00Z): " +
				"if the cluster shall begin anew, reimage this node in a new install window; otherwise restore a snapshot",
		},
		{
			name: "another peer URL", cfg: foreign, facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: `the members do not list "cp1" with the peer URL "https://10.0.0.9:2380"`,
		},
		{
			name: "worker", cfg: node.Config{Name: "w1", Role: node.Worker}, facts: etcdguard.Facts{Mounted: true, Now: now},
			wantErr: `node "w1" has no etcd member (role worker)`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := etcdguard.Decide(tt.cfg, tt.facts)
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("got %v\nwant %s", err, tt.wantErr)
				}
				return
			}
			if err != nil || string(d.Env()) != tt.want {
				t.Errorf("got %q, %v\nwant %q", d.Env(), err, tt.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	root := t.TempDir()
	env := filepath.Join(root, node.EtcdBootstrapEnv)
	mounted := true
	opts := etcdguard.Options{Config: config(time.Hour), Root: root, Now: now, Mounted: func(path string) (bool, error) {
		if want := filepath.Join(root, "var/lib/etcd"); path != want {
			t.Errorf("asked about %s, want %s", path, want)
		}
		return mounted, nil
	}}
	run := func(wantState, wantErr string) {
		t.Helper()
		_, err := etcdguard.Run(opts)
		data, readErr := os.ReadFile(env)
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("got %v, want %s", err, wantErr)
			}
			if !os.IsNotExist(readErr) {
				t.Errorf("%s is left: %v", env, readErr)
			}
			return
		}
		if err != nil || readErr != nil || !strings.HasSuffix(string(data), "STATE="+wantState+"\n") {
			t.Errorf("got %q, %v, %v; want state %s", data, err, readErr, wantState)
		}
		if info, err := os.Stat(env); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode: %v, %v", info.Mode(), err)
		}
	}
	run("new", "")
	wal := filepath.Join(root, "var/lib/etcd/member/wal")
	if err := os.MkdirAll(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	run("new", "") // the folder alone is no log
	if err := os.WriteFile(filepath.Join(wal, "0000000000000000-0000000000000000.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run("existing", "")
	mounted = false
	run("", "not a mount point")
	opts.Mounted = func(string) (bool, error) { return false, errors.New("no mounts") }
	run("", "deciding how etcd starts: no mounts")
	// A file where the folder of the log should be cannot be read as absent.
	opts.Mounted = func(string) (bool, error) { return true, nil }
	if err := os.RemoveAll(wal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run("", "not a directory")
}

func TestMountedIn(t *testing.T) {
	const info = `22 1 0:20 / / rw,relatime - ext4 /dev/root rw
90 22 8:5 / /var/lib/etcd rw,noatime shared:1 - xfs /dev/sda5 rw
91 22 8:6 / /var/lib/etcd2/data rw - xfs /dev/sda6 rw
`
	for path, want := range map[string]bool{
		"/var/lib/etcd": true, "/var/lib": false, "/var/lib/etcd2": false, "/dev/root": false, "/": true,
	} {
		if got := etcdguard.MountedIn(info, path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
