package verify

import (
	"bufio"
	"path"
	"slices"
	"strconv"
	"strings"
)

// machineState is what a machine makes for itself, and what making an image
// leaves behind. None of it may be in an image: it would be the same on every
// machine, or tell of the one that baked.
func machineState() []struct{ pattern, why string } {
	const (
		identity = "it would be every machine's"
		history  = "it tells of the machine that baked"
		tools    = "it is a tool of the bake"
		state    = "it is the state of a running machine"
	)
	return []struct{ pattern, why string }{
		{"/etc/ssh/ssh_host_*", identity},
		{"/var/lib/systemd/random-seed", identity},
		{"/boot/efi/loader/random-seed", identity},
		{"/boot/loader/random-seed", identity},
		{"/var/lib/systemd/credential.secret", identity},
		{"/var/lib/dbus/machine-id", identity},
		{"/etc/hostname", identity},
		{"/etc/iscsi/initiatorname.iscsi", identity},
		{"/etc/nvme/hostid", identity},
		{"/etc/nvme/hostnqn", identity},

		{"/etc/.resolv.conf.systemd-resolved.bak", history},
		{"/var/lib/apt/lists/**", history},
		{"/var/cache/apt/**", history},
		{"/var/cache/debconf/*.dat", history},
		{"/var/log/**", history},
		{"/etc/apt/sources.list", history},
		{"/etc/apt/sources.list.d/**", history},
		{"/root/.*_history", history},
		{"/var/roothome/**", history},
		{"/home/**", history},
		{"/var/home/**", history},

		{"/usr/bin/dracut", tools},
		{"/usr/lib/dracut/**", tools},
		{"/usr/bin/grub-*", tools},
		{"/usr/sbin/grub-*", tools},
		{"/usr/lib/grub/**", tools},

		{"/core", state},
		{"/core.*", state},
		{"/var/crash/**", state},
		{"/var/lib/systemd/coredump/**", state},
		{"/tmp/**", state},
		{"/var/tmp/**", state},
		{"/run/**", state},
		{"/dev/**", state},
		{"/proc/**", state},
		{"/sys/**", state},
	}
}

// forbidden looks for what no image may have. What the recipe itself names is
// its author's decision, other than secrets.
func (c rootCheck) forbidden() {
	named := map[string]bool{}
	for _, f := range c.v.m.Files {
		named[f.Path] = true
	}
	state := machineState()
	for _, n := range c.fs.order {
		for _, f := range state {
			if n.kind != 'D' && !named[n.path] && matches(f.pattern, n.path) {
				c.add(remedyLeft, "%s must not be in an image: %s", n.path, f.why)
				break
			}
		}
		c.node(n)
	}
	if id, ok := c.fs.text("/etc/machine-id"); !ok || id != "uninitialized\n" {
		c.add(bakeAgain, `/etc/machine-id is %q, and should be "uninitialized\n": systemd would apply no presets, or every machine would be the same`, id)
	}
	for _, file := range []string{"/etc/shadow", "/etc/shadow-"} {
		c.shadow(file)
	}
	c.passwd()
	c.secrets()
}

// matches reports whether a path is meant by a pattern: one of path.Match, or
// a folder with all below.
func matches(pattern, p string) bool {
	if dir, ok := strings.CutSuffix(pattern, "**"); ok {
		return strings.HasPrefix(p, dir) && p != dir
	}
	ok, err := path.Match(pattern, p)
	return err == nil && ok
}

// Bits of a mode.
const (
	setID         = 0o6000
	sticky        = 0o1000
	othersWrite   = 0o002
	firstUserID   = 1000
	nobody        = 65534
	remedyRights  = "set its mode in spec.files"
	remedySecrets = "remove it: secrets come by Ignition"
	remedyLeft    = "leave out the package that brings it; if none does, the bake left it there: report that"
)

// node checks the rights, the owner and the time of an entry.
func (c rootCheck) node(n node) {
	if n.kind == 'L' {
		return // the file itself is there as well
	}
	if n.modTime > c.v.epoch() {
		c.add(bakeAgain, "%s is of %s, later than the epoch", n.path, utc(n.modTime))
	}
	if n.kind == 'B' || n.kind == 'C' {
		c.add(remedyLeft, "%s is a device", n.path)
	}
	if n.kind != 'S' && n.mode&othersWrite != 0 && (n.kind != 'D' || n.mode&sticky == 0) {
		c.add(remedyRights, "%s can be written by everybody: its mode is %04o", n.path, n.mode)
	}
	if n.kind == 'R' && n.mode&setID != 0 {
		c.v.note("%s runs with rights of its owner or group: its mode is %04o, its owner %d:%d", n.path, n.mode, n.uid, n.gid)
	}
	for _, id := range []int{n.uid, n.gid} {
		if !systemID(id) && !c.recipeUser(id) {
			c.add("give it to a user of the system", "%s belongs to %d:%d, which is nobody's number in an image", n.path, n.uid, n.gid)
			break
		}
	}
}

func (c rootCheck) recipeUser(id int) bool {
	for _, u := range c.v.recipe.Spec.Users {
		if u.UID == id {
			return true
		}
	}
	return false
}

// shadow looks for passwords (shadow(5)): a field that begins with ! or * lets
// nobody in.
func (c rootCheck) shadow(file string) {
	c.lines(file, func(f []string) {
		if len(f) > 1 && !strings.HasPrefix(f[1], "!") && !strings.HasPrefix(f[1], "*") {
			c.add(remedySecrets, "%s has a password for %s", file, f[0])
		}
	})
}

// systemID reports whether an ID is one of the system: below those of people,
// nobody's, or one that Debian gave to a package for all machines (Debian
// policy 9.2.2).
func systemID(id int) bool {
	return id < firstUserID || id == nobody || id >= 60000 && id <= 64999
}

// passwd looks for users that are no part of the system.
func (c rootCheck) passwd() {
	c.lines("/etc/passwd", func(f []string) {
		if len(f) < 3 {
			return
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil || !systemID(uid) && !c.recipeUser(uid) {
			c.add("make users with Ignition, or system users in spec.users", "/etc/passwd has the user %s with the number %s", f[0], f[2])
		}
		if f[1] != "x" && f[1] != "*" && f[1] != "!" {
			c.add(remedySecrets, "/etc/passwd has a password for %s", f[0])
		}
	})
}

func (c rootCheck) lines(file string, use func(fields []string)) {
	text, _ := c.fs.text(file)
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if s.Text() != "" {
			use(strings.Split(s.Text(), ":"))
		}
	}
}

// user looks for a user of the recipe, which systemd-sysusers makes.
func (c rootCheck) user(name string, uid int) {
	id := strconv.Itoa(uid)
	found := false
	for p, text := range c.fs.texts {
		if path.Dir(p) != "/usr/lib/sysusers.d" {
			continue
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			found = found || len(f) > 2 && f[0] == "u" && f[1] == name && f[2] == id
		}
	}
	if !found {
		c.add(bakeAgain, "no file of sysusers.d makes the user %s with the number %d", name, uid)
	}
}

// secrets looks into the files of /etc and of homes.
func (c rootCheck) secrets() {
	for p, text := range c.fs.texts {
		if path.Base(p) == "authorized_keys" {
			c.add(remedySecrets, "%s lets somebody in", p)
		}
		if strings.Contains(text, "PRIVATE KEY-----\n") && strings.Contains(text, "-----BEGIN ") {
			c.add(remedySecrets, "%s has a private key", p)
		}
		if !strings.HasPrefix(p, "/etc/") {
			continue
		}
		if i := slices.IndexFunc(c.v.o.BuildPaths, func(dir string) bool { return dir != "" && strings.Contains(text, dir) }); i >= 0 {
			c.add(bakeAgain, "%s names %s, a folder of the machine that baked", p, c.v.o.BuildPaths[i])
		}
	}
}
