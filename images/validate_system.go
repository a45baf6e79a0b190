package images

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
)

// sysctlPattern is a key of sysctl.d(5), with "." or "/" between its parts; a
// part may be a pattern.
var sysctlPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*([./][A-Za-z0-9_*:@-]+)+$`)

// sysctlModules are the kernel modules without which keys do not exist.
var sysctlModules = []struct{ prefix, module string }{
	{"net.bridge.", "br_netfilter"},
	{"net.netfilter.", "nf_conntrack"},
}

func (c *checker) sysctls(sysctls map[string]string, modules []string) {
	keys := seen{}
	for _, key := range slices.Sorted(maps.Keys(sysctls)) {
		path := report.Path("spec.sysctls").Field(key)
		if !sysctlPattern.MatchString(key) {
			c.add(path, fmt.Sprintf("%q is not a sysctl key", key), "write it as net.ipv4.ip_forward")
			continue
		}
		c.value(path, sysctls[key])
		dotted := strings.ReplaceAll(key, "/", ".")
		c.unique(keys, path, dotted)
		for _, need := range sysctlModules {
			if strings.HasPrefix(dotted, need.prefix) && !slices.Contains(modules, need.module) {
				c.add(path, fmt.Sprintf("the key exists only once %s is loaded", need.module), "add "+need.module+" to spec.kernelModules")
			}
		}
	}
}

// value checks one that becomes the rest of a line in a file.
func (c *checker) value(path report.Path, value string) {
	if strings.TrimSpace(value) == "" {
		c.add(path, "empty", "give it a value or remove the key")
	} else if strings.ContainsAny(value, "\n\r\x00") {
		c.add(path, "the value has more than one line", "")
	}
}

var modulePattern = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9_-]*$`)

// renamedModules are kernel modules that have another name now.
var renamedModules = map[string]struct{ now, since string }{
	"nf_conntrack_ipv4": {"nf_conntrack", "Linux 4.19"},
	"nf_conntrack_ipv6": {"nf_conntrack", "Linux 4.19"},
}

func (c *checker) kernelModules(modules []string) {
	names := seen{}
	for i, name := range modules {
		path := report.Path("spec.kernelModules").Index(i)
		if !c.match(path, name, modulePattern, "the name of a kernel module") {
			continue
		}
		// The kernel makes no difference between the two characters.
		name = strings.ReplaceAll(name, "-", "_")
		if renamed, ok := renamedModules[name]; ok {
			c.add(path, fmt.Sprintf("%s does not exist since %s", name, renamed.since), "use "+renamed.now)
			continue
		}
		c.unique(names, path, name)
	}
}

var (
	journalSize   = regexp.MustCompile(`^[0-9]+[KMGTPE]?$`)
	journalNumber = regexp.MustCompile(`^[0-9]+$`)
	journalSpan   = regexp.MustCompile(`^[0-9]+ *[a-z]*( *[0-9]+ *[a-z]+)*$`)
	journalBool   = regexp.MustCompile(`^(yes|no|true|false|on|off|1|0)$`)
	journalAny    = regexp.MustCompile(`^.+$`)
	journalLevel  = regexp.MustCompile(`^(emerg|alert|crit|err|warning|notice|info|debug|[0-7])$`)
)

// journaldKeys are the keys of the [Journal] section, journald.conf(5).
var journaldKeys = map[string]struct {
	pattern *regexp.Regexp
	form    string
}{
	"Storage":              {regexp.MustCompile(`^(volatile|persistent|auto|none)$`), "volatile, persistent, auto or none"},
	"Compress":             {regexp.MustCompile(`^(yes|no|true|false|on|off|1|0|[0-9]+[KMG]?)$`), "a bool or a size"},
	"Seal":                 {journalBool, "a bool"},
	"SplitMode":            {regexp.MustCompile(`^(uid|none)$`), "uid or none"},
	"RateLimitIntervalSec": {journalSpan, "a time span like 30s"},
	"RateLimitBurst":       {journalNumber, "a number"},
	"SystemMaxUse":         {journalSize, "a size like 1G"},
	"SystemKeepFree":       {journalSize, "a size like 1G"},
	"SystemMaxFileSize":    {journalSize, "a size like 100M"},
	"SystemMaxFiles":       {journalNumber, "a number"},
	"RuntimeMaxUse":        {journalSize, "a size like 1G"},
	"RuntimeKeepFree":      {journalSize, "a size like 1G"},
	"RuntimeMaxFileSize":   {journalSize, "a size like 100M"},
	"RuntimeMaxFiles":      {journalNumber, "a number"},
	"MaxFileSec":           {journalSpan, "a time span like 1month"},
	"MaxRetentionSec":      {journalSpan, "a time span like 1month"},
	"SyncIntervalSec":      {journalSpan, "a time span like 5m"},
	"ForwardToSyslog":      {journalBool, "a bool"},
	"ForwardToKMsg":        {journalBool, "a bool"},
	"ForwardToConsole":     {journalBool, "a bool"},
	"ForwardToWall":        {journalBool, "a bool"},
	"ForwardToSocket":      {journalAny, "a socket address"},
	"MaxLevelStore":        {journalLevel, "a log level"},
	"MaxLevelSyslog":       {journalLevel, "a log level"},
	"MaxLevelKMsg":         {journalLevel, "a log level"},
	"MaxLevelConsole":      {journalLevel, "a log level"},
	"MaxLevelWall":         {journalLevel, "a log level"},
	"MaxLevelSocket":       {journalLevel, "a log level"},
	"ReadKMsg":             {journalBool, "a bool"},
	"Audit":                {regexp.MustCompile(`^(yes|no|true|false|on|off|1|0|keep)$`), "a bool"},
	"TTYPath":              {regexp.MustCompile(`^/dev/.+$`), "a device"},
	"LineMax":              {journalSize, "a size like 48K"},
}

// renamedJournaldKeys are keys that have another name now.
var renamedJournaldKeys = map[string]string{"RateLimitInterval": "RateLimitIntervalSec"}

func (c *checker) journald(journald map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(journald)) {
		path := report.Path("spec.journald").Field(key)
		if now, ok := renamedJournaldKeys[key]; ok {
			c.add(path, fmt.Sprintf("%s was renamed", key), "use "+now)
			continue
		}
		known, ok := journaldKeys[key]
		if !ok {
			remedy := "see journald.conf(5)"
			for name := range journaldKeys {
				if strings.EqualFold(name, key) {
					remedy = "write " + name
				}
			}
			c.add(path, fmt.Sprintf("journald has no key %q", key), remedy)
			continue
		}
		c.match(path, journald[key], known.pattern, known.form)
	}
}
