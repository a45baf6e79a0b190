package archtest

// K8snode returns the rules of this module.
func K8snode() Rules {
	return Rules{
		Packages: []Package{
			// Leaves that every side may read.
			{"internal/report", nil, "a leaf: problems know no document"},
			{"internal/strictyaml", []string{"internal/report"}, "decodes any document, knows none"},
			{"provision/api", nil, "a leaf: the agent and the clients import it without the server"},

			// Bake.
			{"images", []string{"images/signature", "internal/report", "internal/strictyaml"}, "what an image is, not how it is made"},
			{"images/signature", nil, "a leaf: keys, signatures and bytes"},
			{"builder", []string{"images", "builder/...", "internal/atomicfile", "internal/report"}, "puts the steps of a bake together"},
			{"builder/chroot", []string{"images", "builder/source", "builder/tree"}, "commands in an unpacked root, and what they changed"},
			{"builder/container", []string{"images", "builder/source", "builder/tree", "builder/hosttool"}, "container archives from programs and packages"},
			{"builder/disk", []string{"images"}, "bytes of a disk, for a layout"},
			{"builder/iso", []string{"images", "builder/disk", "builder/source"}, "the live ISO, and that of the installer"},
			{"builder/source", []string{"images"}, "inputs, by what the recipe says"},
			{"builder/source/debtest", nil, "a Debian archive for tests"},
			{"builder/source/releasetest", []string{"builder/source", "images"}, "upstream's release pages for tests"},
			{"builder/tree", []string{"images"}, "a root file system as values"},
			{"builder/request", []string{"builder", "builder/source", "images", "internal/report"}, "what a user asks for, in whatever program"},
			{"builder/rootfs", []string{"images", "builder/hosttool", "builder/source", "builder/tree"}, "a root from packages and a tree"},
			{"builder/verity", []string{"images"}, "one hash tree, for any file"},
			{"builder/squashfs", []string{"builder/tree"}, "a file system in layers, each compressed once"},
			{"builder/uki", []string{"images", "builder/hosttool"}, "a kernel with its arguments in one EFI program"},
			{"builder/sbom", []string{"images", "builder/source"}, "lists what a lock pins"},
			{"builder/verify", []string{"images", "images/signature", "builder/disk", "builder/iso", "builder/sbom", "builder/source", "builder/uki"}, "reopens an image and trusts nobody who made it"},
			{"builder/verify/verifytest", []string{"images", "builder/..."}, "small images for tests, made by what makes large ones"},

			// Boot.
			{"butane/cluster", []string{"internal/report", "internal/strictyaml", "provision/api"}, "what a cluster is; a node's disk is described as in the install plan"},
			{"butane/pki", nil, "authorities and secrets know no cluster document"},
			{"butane/change", []string{"agent/node", "butane", "butane/cluster", "butane/pki", "provision/api"}, "two documents, generated and compared"},
			{"butane", []string{"agent/node", "butane/cluster", "butane/pki", "provision/api"}, "writes the files that the agent reads"},
			{"ignition", nil, "a config is bytes: any Butane document works, not only ours"},
			{"ignition/check", []string{"ignition"}, "checks bytes"},
			{"ignition/render", []string{"ignition"}, "renders bytes"},
			{"ignition/stub", []string{"ignition", "ignition/check"}, "the first config of a machine"},

			// Provision.
			{"provision", []string{
				"images", "images/signature", "provision/admin", "provision/api", "provision/audit", "provision/cpio", "provision/inventory", "provision/library", "provision/netboot", "provision/store", "provision/throttle",
			}, "serves what it is given: rendering and baking are somebody else's"},
			{"provision/access", []string{"internal/report", "provision/throttle"}, "who may do what, whatever that is"},
			{"provision/admin", []string{"images", "provision/api", "provision/library", "provision/store"}, "the operator's side of the server"},
			{"provision/audit", []string{"provision/api"}, "a log of deliveries"},
			{"provision/cpio", nil, "one file format"},
			{"provision/inventory", []string{"provision/api"}, "which machine is which, by what they say"},
			{"provision/library", []string{"images", "images/signature", "internal/atomicfile"}, "images in a folder, whoever serves them"},
			{"provision/metrics", []string{"provision/admin", "provision/api", "provision/audit"}, "counts what operators see, changes nothing"},
			{"provision/publish", []string{"images", "images/signature", "provision/library"}, "sends an image, to a server or into a folder"},
			{"provision/netboot", []string{"provision/api"}, "DHCP and TFTP know no nodes"},
			{"provision/store", []string{"provision/api"}, "state, by the words of the API"},
			{"provision/store/boltstore", []string{"provision/api", "provision/store"}, "a store in a file"},
			{"provision/store/etcdstore", []string{"provision/api", "provision/store"}, "a store for several servers"},
			{"provision/store/storetest", []string{"provision/api", "provision/store"}, "the behaviour test of every store"},
			{"provision/site", []string{"provision/access", "provision/admin", "provision/audit", "provision/metrics", "provision/ui"}, "the operators' side, put together"},
			{"provision/throttle", nil, "addresses and times"},
			{"provision/ui", []string{"provision/access", "provision/admin", "provision/api", "provision/audit", "provision/store"}, "shows what operators see, to those whom the guard lets in"},

			// On the machine.
			{"agent", []string{"agent/...", "images", "internal/atomicfile", "provision/api"}, "all of it runs on the machine"},
			{"cmd/k8snode-agent", []string{"agent/...", "images", "provision/api"}, "a small static program"},
			{"agent/bootstrap", []string{"agent/...", "images", "internal/atomicfile", "provision/api"}, "all of it runs on the machine"},
			{"agent/client", []string{"agent/retry", "provision/api"}, "speaks to the server"},
			{"agent/cmdline", nil, "a leaf: words of the kernel command line"},
			{"agent/command", nil, "runs programs"},
			{"agent/disk", []string{"agent/node", "provision/api"}, "finds the disk of a plan"},
			{"agent/disk/disktest", []string{"agent/disk"}, "a fake machine for tests"},
			{"agent/etcd", nil, "speaks to etcd, decides nothing"},
			{"agent/etcdbackup", []string{"agent/etcd", "agent/node"}, "saves snapshots"},
			{"agent/etcdguard", []string{"agent/command", "internal/atomicfile", "agent/etcd", "agent/node"}, "decides how etcd starts"},
			{"agent/install", []string{"agent/...", "images", "images/signature", "internal/atomicfile", "provision/api"}, "all of it runs on the machine"},
			{"agent/handover", []string{"agent/command", "agent/disk", "images", "provision/api"}, "starts the image on a disk, without the firmware's order"},
			{"agent/medium", []string{"agent/client", "agent/command", "agent/retry", "images", "internal/embedarea", "provision/api"}, "decides what a machine does that was started from a medium"},
			{"agent/node", nil, "a leaf: the file by which the boot side tells the agent who it is"},
			{"agent/preload", []string{"internal/atomicfile", "agent/command", "agent/node", "agent/retry"}, "imports the container images of the node"},
			{"agent/renew", []string{"agent/command", "agent/etcd", "agent/node", "agent/retry", "internal/atomicfile", "provision/api"}, "renews certificates"},
			{"agent/retry", nil, "waits and tries again"},
			{"agent/rootdev", []string{"agent/cmdline", "agent/command", "agent/disk", "agent/retry"}, "opens the root, knows no config"},
			{"agent/seed", []string{
				"internal/atomicfile", "agent/cmdline", "agent/command", "agent/disk", "agent/retry", "images", "provision/api",
			}, "finds the config of a first boot on a disk or in the initramfs"},

			// Where flows meet.
			{"internal/embedarea", []string{"provision/api"}, "a form that operators write and the agent reads"},
			{"internal/nodeconfig", []string{"images", "butane/...", "ignition/...", "provision/api"}, "the boot side put together, for whoever delivers or shows a config"},
			{"internal/cli", []string{
				"images", "images/signature", "operate", "operate/power", "operate/reimage", "operate/rollout", "builder/...", "butane/...", "ignition/...", "provision/...", "internal/atomicfile", "internal/embedarea", "internal/nodeconfig", "internal/report", "internal/strictyaml", "internal/qemu",
			}, "the place where the three flows meet"},
			{"cmd/k8snode", []string{"internal/cli"}, "main calls the command line, nothing else"},

			// The Packer plugin, a module of its own.
			{"plugins/packer-k8snode", []string{"plugins/packer-k8snode/..."}, "main registers the components, nothing else"},
			{"plugins/packer-k8snode/agent", []string{"builder/source"}, "the program for images, inside the plugin"},
			{"plugins/packer-k8snode/builder/k8snode", []string{
				"builder", "builder/chroot", "builder/request", "builder/source", "images", "internal/report", "plugins/packer-k8snode/agent", "plugins/packer-k8snode/uilog",
			}, "a thin wrapper over builder"},
			{"plugins/packer-k8snode/datasource/ignition", []string{"butane/cluster", "internal/nodeconfig"}, "a thin wrapper over the boot side"},
			{"plugins/packer-k8snode/post-processor/publish", []string{
				"images", "provision/admin", "provision/library", "provision/publish", "plugins/packer-k8snode/uilog",
			}, "a thin wrapper over publishing"},
			{"plugins/packer-k8snode/uilog", nil, "a leaf: log lines for Packer"},
			{"plugins/packer-k8snode/version", nil, "a leaf"},
			{"plugins/packer-k8snode/acceptance", nil, "tests of the whole, from outside"},

			{"operate", []string{"agent/etcd", "agent/node", "butane", "butane/cluster", "butane/pki", "operate/kube"}, "day 2: asks a running cluster, changes it by plan"},
			{"operate/power", []string{"internal/report", "internal/strictyaml"}, "speaks to machines' controllers, decides nothing"},
			{"operate/reimage", []string{"butane/cluster", "operate", "operate/power", "provision/admin", "provision/api"}, "one transaction over the cluster, the provisioning server and a controller"},
			{"operate/rollout", []string{"butane/cluster", "operate", "operate/reimage", "provision/admin", "provision/api"}, "the order of many transactions"},
			{"operate/kube", nil, "speaks to API servers, decides nothing"},

			// For tests.
			{"e2e", []string{"images", "builder/...", "butane/...", "ignition/...", "provision/...", "agent/...", "internal/lab/...", "internal/qemu"}, "the whole way, on machines of the lab"},
			{"internal/atomicfile", nil, "one system call dance"},
			{"internal/archtest", nil, "reads source, imports none of it"},
			{"internal/fieldref", nil, "a leaf for tests: pages from types"},
			{"internal/golden", nil, "a leaf for tests"},
			{"internal/lab/rack", []string{"internal/lab/guestconfig", "provision/api"}, "machines as the server sees them, without the agent's code"},
			{"internal/qemu", []string{"provision/cpio"}, "the arguments of an emulator, for people and for tests"},
			{"internal/lab", []string{"internal/qemu"}, "machines and networks, whatever runs on them"},
			{"internal/lab/bootcheck", []string{
				"images", "agent/node", "butane", "ignition/render", "internal/lab", "internal/lab/guestconfig", "internal/qemu", "provision/api", "provision/cpio",
			}, "boots an image and asks it; the recipe is the oracle"},
			{"internal/lab/guestconfig", []string{"internal/lab"}, "what a test machine's config has besides the node's own"},
			{"internal/lab/ha", []string{
				"images", "agent/disk", "agent/node", "butane/cluster", "internal/lab", "internal/lab/guestconfig", "internal/lab/ipxe", "internal/lab/kube", "internal/lab/umlkernel", "provision/admin", "provision/api", "provision/cpio",
			}, "a cluster of machines that loses some, told with the real programs"},
			{"internal/lab/ipxe", nil, "a leaf: the boot loader of machines without firmware"},
			{"internal/lab/kube", []string{"images", "internal/lab"}, "how tests speak to a cluster"},
			{"internal/lab/umlkernel", []string{"builder/source"}, "brings a kernel from Debian's archive, as a bake brings packages"},
			{"internal/lab/wholepath", []string{
				"images", "butane/cluster", "internal/lab", "internal/lab/kube", "internal/qemu", "provision/access", "provision/admin", "provision/api",
			}, "the whole story, told with the real programs: no code of theirs but the words they use"},
			{"internal/lab/cmd/lab", []string{"images", "internal/lab", "internal/lab/wholepath", "internal/qemu"}, "the command line of the lab"},
		},
		Planned: []Package{
			{"builder/hosttool", nil, "runs programs of the baking machine"},
		},
		Areas:  areas,
		Owners: owners,
		Bans:   bans,
	}
}

var areas = []Area{
	{
		Name:     "bake",
		Packages: []string{"images/...", "builder/...", "plugins/packer-k8snode/builder/..."},
		Never:    []string{"butane/...", "ignition/...", "agent/...", "provision/...", "internal/cli", "cmd/..."},
		Except:   []string{"provision/api"},
		Why:      "an image holds no identity: the same bytes boot anywhere",
	},
	{
		Name:     "boot",
		Packages: []string{"butane/...", "ignition/..."},
		Never:    []string{"images", "builder/...", "plugins/...", "provision/...", "internal/cli", "cmd/..."},
		Except:   []string{"provision/api"},
		Why:      "a config is made without the image and without the server",
	},
	{
		Name:     "provision",
		Packages: []string{"provision/..."},
		Never:    []string{"builder/...", "butane/...", "ignition/...", "agent/...", "internal/cli", "cmd/..."},
		Why:      "the server uses the outputs of bake and boot, not their code",
	},
	{
		Name:     "the agent",
		Packages: []string{"agent/...", "cmd/k8snode-agent"},
		Never:    []string{"builder/...", "butane/...", "ignition/...", "provision/...", "internal/cli"},
		Except:   []string{"provision/api"},
		Why:      "it is baked into every image: small, and without the server's code",
	},
}

var owners = []Owner{
	{"github.com/diskfs/go-diskfs", []string{"builder/disk"}, "random identifiers unless every one is given, which is done in one place"},
	{"github.com/coreos/butane", []string{"ignition/render"}, "the project is archived; its move must cost one import line"},
	{"github.com/coreos/ignition", []string{"ignition/check", "ignition/render", "ignition/stub"}, "its types stay behind the config's bytes"},
	{"github.com/insomniacslk/dhcp", []string{"provision/..."}, "only the server speaks DHCP"},
	{"github.com/pin/tftp", []string{"provision/..."}, "only the server speaks TFTP"},
	{"github.com/prometheus/client_golang", []string{"provision/metrics"}, "what is counted is listed in one place"},
	{"go.etcd.io/bbolt", []string{"provision/store/..."}, "state is behind the store"},
	{"k8s.io/client-go", []string{"operate/kube"}, "what is asked of API servers is listed in one place"},
	{"k8s.io/kubectl", []string{"operate/kube"}, "draining is kubectl's own"},
	{"go.etcd.io/etcd", []string{"agent/etcd", "provision/store/etcdstore"}, "what nodes ask etcd is listed in one place; the server keeps its state behind the store"},
	{"go.uber.org/zap", []string{"agent/etcd", "provision/store/etcdstore"}, "etcd's client wants its logger; everybody else has slog"},
	{"aead.dev/minisign", []string{"images/signature"}, "who vouches for an image is checked in one place"},
	{"filippo.io/age", []string{"butane/pki"}, "secrets are opened in one place"},
	{"github.com/google/go-containerregistry", []string{"builder/container"}, "containers are made in one place"},
	{"github.com/spf13/cobra", []string{"internal/cli/..."}, "a library has no flags"},
	{"github.com/spf13/pflag", []string{"internal/cli/..."}, "a library has no flags"},
	{"github.com/hashicorp/packer-plugin-sdk", []string{"plugins/..."}, "the builder does not know that it runs in Packer"},
	{"gopkg.in/yaml.v3", []string{"internal/strictyaml", "butane/..."}, "documents are read by one decoder"},
	{"testing", []string{"internal/golden", "internal/lab/...", "provision/store/storetest", "agent/disk/disktest", "builder/verify/verifytest", "e2e"}, "test support stays out of programs"},
}

// edge are the packages that take the clock, the environment and randomness
// from the machine and hand them down.
var edge = []string{"internal/cli/...", "cmd/...", "plugins/packer-k8snode", "internal/lab/cmd/...", "e2e"}

var bans = []Ban{
	{
		Names:  []string{"time.Now", "time.Since", "time.Until"},
		Except: edge,
		Why:    "the clock is an argument",
	},
	{
		Names:  []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv"},
		Except: edge,
		Why:    "the environment is an argument",
	},
	{
		Names: []string{"crypto/rand.Reader", "crypto/rand.Read", "crypto/rand.Text", "math/rand.*", "math/rand/v2.*"},
		// A generator with a seed from outside is no randomness.
		Allowed: []string{
			"math/rand/v2.New", "math/rand/v2.NewPCG", "math/rand/v2.NewChaCha8",
			"math/rand/v2.Rand", "math/rand/v2.Source",
		},
		Except: edge,
		Why:    "randomness is an argument",
	},
}
